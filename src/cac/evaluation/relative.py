"""Metrics relative to the ceiling, so that methods which show other frames can be compared: one look against two."""

from collections.abc import Mapping, Sequence

from cac.evaluation.ceiling import perfect_judgements
from cac.evaluation.facts import clip_facts
from cac.evaluation.metrics import point_values
from cac.frames import Frames
from cac.schema.annotations import Clip

LIMITED_BY_FRAMES = ("temporal_iou", "spatial_iou")


def ceiling(clips: Sequence[Clip], frames: Frames) -> dict[str, float | None]:
    """Return `LIMITED_BY_FRAMES` of perfect answers about the clips; None where they are undefined."""
    judgements = perfect_judgements(clips, frames)
    values = point_values(clip_facts(clips, judgements, [float(one.verdict == "clean") for one in judgements]))
    return {name: values[name] for name in LIMITED_BY_FRAMES}


def relative_to_ceiling(
    values: Mapping[str, float | None], highest: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Return `LIMITED_BY_FRAMES` as shares of the ceiling; None where one is undefined or the ceiling is 0."""
    return {name: _share(values.get(name), highest.get(name)) for name in LIMITED_BY_FRAMES}


def _share(value: float | None, highest: float | None) -> float | None:
    return None if value is None or not highest else value / highest
