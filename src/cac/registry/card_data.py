"""What a model card is written from: numbers, answers, origin, and what the dataset is, gathered and not yet worded."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cac.errors import CacError
from cac.evaluation.intervals import Interval
from cac.model.calibration import Calibration
from cac.params import Params
from cac.registry.predictions import Predictions
from cac.schema.annotations import CARD_NAME, Clip, read_clips
from cac.tracking.run_state import UNKNOWN, RunState

Metrics = Mapping[str, Mapping[str, Interval]]  # row -> metric -> {"value", "low", "high"}
Span = tuple[float, float]


@dataclass(frozen=True)
class SplitSummary:
    """A split of the dataset: its clips and pairs, and how many clips hold an anomaly of each family."""

    clips: int
    pairs: int
    clean: int
    families: Mapping[str, int]


@dataclass(frozen=True)
class DatasetSummary:
    """The dataset: its splits, where its clips come from, and from what to what they reach.

    Attributes:
        splits: in the order train, val, test, test_shifted, as far as there are any clips.
        sources, generators: how many clips are of each.
        licence: as `dataset.json` has it, or "unknown".
        seconds, fps, sides: smallest and largest of a clip; sides in pixels.
    """

    splits: Mapping[str, SplitSummary]
    sources: Mapping[str, int]
    generators: Mapping[str, int]
    licence: str
    seconds: Span
    fps: Span
    sides: Span


@dataclass(frozen=True)
class CardData:
    """What the card is written from.

    Attributes:
        params: the settings of the run.
        state: what the model was made from.
        splits: what was measured, {split: {row: {metric: interval}}}, rows being checkpoints and baselines.
        row: the row that is the registered checkpoint.
        calibration: what makes the score of the margin, the log odds of "none".
        measured: the test clips with the model's answers and scores.
        data: what the dataset is.
    """

    params: Params
    state: RunState
    splits: Mapping[str, Metrics]
    row: str
    calibration: Calibration
    measured: Predictions
    data: DatasetSummary

    @property
    def metrics(self) -> Metrics:
        """What was measured on the test split."""
        return self.splits["test"]


def summarise_dataset(dataset: Path) -> DatasetSummary:
    """Return what a dataset is, from its manifest and its card.

    Raises:
        CacError: the manifest is missing, empty or not valid, or the card is no JSON object.
    """
    clips = read_clips(dataset)
    if not clips:
        raise CacError(f"{dataset} has no clips. Get them with `make data`.")
    order = ("train", "val", "test", "test_shifted")
    groups = {split: [clip for clip in clips if clip.split == split] for split in order}
    return DatasetSummary(
        splits={split: _split_facts(group) for split, group in groups.items() if group},
        sources=_counts([clip.source for clip in clips]),
        generators=_counts([clip.generator for clip in clips]),
        licence=_licence(dataset / CARD_NAME),
        seconds=_span([clip.duration for clip in clips]),
        fps=_span([clip.fps for clip in clips]),
        sides=_span([side for clip in clips for side in (clip.width, clip.height)]),
    )


def _split_facts(clips: Sequence[Clip]) -> SplitSummary:
    families = [str(family) for clip in clips for family in {anomaly.family for anomaly in clip.anomalies}]
    pairs = len({clip.pair_id for clip in clips})
    return SplitSummary(len(clips), pairs, sum(clip.is_clean for clip in clips), _counts(families))


def _counts(names: Sequence[str]) -> dict[str, int]:
    """Count names, the most frequent first, equal ones by name."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _span(values: Sequence[float]) -> Span:
    return min(values), max(values)


def _licence(card: Path) -> str:
    if not card.is_file():
        return UNKNOWN
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CacError(f"{card} is not valid JSON: {error}. Restore the dataset with `dvc checkout`.") from error
    if not isinstance(content, dict):
        raise CacError(f"{card} holds no JSON object. Restore the dataset with `dvc checkout`.")
    return str(content.get("licence", UNKNOWN))
