"""The content of a model card as data: metrics, predictions, lineage and a summary of the dataset."""

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
from cac.schema.annotations import CARD_NAME, EXTRA_SPLITS, REQUIRED_SPLITS, Clip, read_clips
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
    """The dataset: its splits, the sources of its clips, and their ranges.

    Attributes:
        splits: those with clips, in the order train, val, test, test_shifted, test_hard.
        sources, generators: the number of clips of each.
        licence: as `dataset.json` has it, or "unknown".
        seconds, fps, sides: the smallest and largest of all clips; sides in pixels.
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
    """The content of the model card.

    Attributes:
        params: the settings of the run.
        state: the run state that the model was made from.
        splits: the metrics, {split: {row: {metric: interval}}}; rows are checkpoints and baselines.
        row: the row of the registered checkpoint.
        calibration: turns the margin, the log odds of "none", into the score.
        measured: the predictions on the test split.
        data: the dataset.
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
        """The metrics on the test split."""
        return self.splits["test"]


def summarise_dataset(dataset: Path) -> DatasetSummary:
    """Summarise a dataset from its manifest and its card.

    Raises:
        CacError: the manifest is missing, empty or not valid, or the card is not a JSON object.
    """
    clips = read_clips(dataset)
    if not clips:
        raise CacError(f"{dataset} has no clips. Get them with `make data`.")
    order = (*REQUIRED_SPLITS, *EXTRA_SPLITS)
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
