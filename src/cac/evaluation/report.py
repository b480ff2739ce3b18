"""The evaluation report: one page for a person, `index.html` with its images beside it.

The folder is self-contained (no external resource), reads in light and dark, and comes out the same to the byte from
the same inputs: no dates, no run ids. It computes no metric; it shows what `intervals.py` measured and what the model
said. Which clips are shown as examples is fixed by rule, so nobody picks them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path

from cac.errors import CacError
from cac.evaluation import curves
from cac.evaluation.ceiling import PERFECT_ANSWERS
from cac.evaluation.groups import GROUP_METRICS
from cac.evaluation.intervals import Interval
from cac.evaluation.metrics import METRICS
from cac.model.calibration import reliability
from cac.schema.annotations import EXTRA_SPLITS, Clip
from cac.schema.iou import window_iou
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import LEAVES
from cac.video.decode import AnyVideo
from cac.video.drawing import save_image
from cac.video.sheets import contact_sheet

HEADLINE = (
    "balanced_accuracy",
    "auroc",
    "recall",
    "specificity",
    "distractor_specificity",
    "twin_accuracy",
    "expected_calibration_error",
    "temporal_iou",
    "spatial_iou",
    "joint_accuracy",
    "clean_window_rate",
    "family_accuracy",
    "leaf_accuracy",
    "parse_rate",
    "unaided_rate",
)
TILES = ("balanced_accuracy", "auroc", "temporal_iou", "spatial_iou", "leaf_accuracy", "parse_rate")
_SPLITS = ("test", *EXTRA_SPLITS, "val")
_UNDEFINED = "n/a"
_ACRONYMS = {"auroc": "AUROC", "iou": "IoU", "f1": "F1", "sft": "SFT", "grpo": "GRPO"}

Table = Mapping[str, Mapping[str, Interval]]  # row name -> metric -> interval


@dataclass(frozen=True)
class ReportInputs:
    """What the report shows.

    Attributes:
        metrics: as in metrics/evaluation.json: split -> row -> metric -> interval; rows are shown in the order given.
        final: the row whose judgements are shown, a key of `metrics["test"]`.
        clips: the test clips.
        judgements: of the final model, aligned with the clips.
        scores: calibrated probabilities of clean, aligned with the clips.
        per_family: family -> metric -> interval, of the final model on test.
        load_video: decodes a clip's file; called for the examples only.
        histories: stage name -> its history file; a missing file is reported in the page.
        bins: of the reliability diagram.
        shown: examples, at most.
        groups: split -> "length" or "size" of the anomaly -> group -> metric -> interval, of the final model.
    """

    metrics: Mapping[str, Table]
    final: str
    clips: Sequence[Clip]
    judgements: Sequence[Judgement]
    scores: Sequence[float]
    per_family: Table
    load_video: Callable[[Clip], AnyVideo]
    histories: Mapping[str, Path]
    bins: int = 10
    shown: int = 12
    groups: Mapping[str, Mapping[str, Table]] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """A test clip with what the final model said of it."""

    clip: Clip
    judgement: Judgement
    score: float

    @property
    def outcome(self) -> str:
        """Which of the four outcomes this is."""
        if self.clip.is_clean:
            return "rightly passed" if self.judgement.verdict == "clean" else "false alarm"
        return "found" if self.judgement.verdict == "anomalous" else "missed"

    @property
    def overlap(self) -> float | None:
        """Temporal IoU of an anomalous clip whose windows are all known."""
        return window_iou(self.judgement, self.clip)


OUTCOMES = ("found", "missed", "false alarm", "rightly passed")


def write_report(inputs: ReportInputs, out: Path) -> None:
    """Write the report folder: `out`/index.html and `out`/images/; earlier images there are removed.

    Raises:
        CacError: the final model is not in the metrics, a history file is broken, or `out` cannot be written.
    """
    if inputs.final not in inputs.metrics["test"]:
        raise CacError(f"no test metrics of {inputs.final!r}; there are: {', '.join(inputs.metrics['test'])}.")
    images = out / "images"
    try:
        images.mkdir(parents=True, exist_ok=True)
        for stale in images.glob("*.png"):
            stale.unlink()
        curve_sections = _write_curves(inputs, images)
        _write_charts(inputs, images)
        examples = [_write_example(example, inputs, images) for example in choose_examples(inputs)]
        (out / "index.html").write_text(_render(inputs, curve_sections, examples), encoding="utf-8")
    except OSError as error:
        raise CacError(f"cannot write the report to {out}: {error}. Give a folder you may write to.") from error


def choose_examples(inputs: ReportInputs) -> list[Example]:
    """Return up to `shown` examples: the four outcomes in equal parts, each spread evenly over leaves.

    If an outcome has too few clips, other outcomes get more examples.
    """
    everything = [Example(*row) for row in zip(inputs.clips, inputs.judgements, inputs.scores, strict=True)]
    everything.sort(key=lambda example: (_leaf_key(example), example.clip.clip_id))
    groups = {name: [example for example in everything if example.outcome == name] for name in OUTCOMES}
    chosen: dict[str, list[Example]] = {}
    free = inputs.shown
    for position, name in enumerate(sorted(OUTCOMES, key=lambda name: len(groups[name]))):
        chosen[name] = _spread(groups[name], free // (len(OUTCOMES) - position))
        free -= len(chosen[name])
    return [example for name in OUTCOMES for example in chosen[name]]


def _leaf_key(example: Example) -> str:
    """Return what examples are spread over: the true leaf, or on a clean clip the one the model saw."""
    if example.clip.is_clean:
        return example.judgement.leaf or ""
    return example.clip.anomalies[0].leaf


def _spread(items: Sequence[Example], count: int) -> list[Example]:
    if len(items) <= count:
        return list(items)
    return [items[int((part + 0.5) * len(items) / count)] for part in range(count)]


def _write_curves(inputs: ReportInputs, images: Path) -> list[dict[str, str | None]]:
    """Draw each stage's curves; a section is {"stage", "loss", "rewards", "missing"} with image names or None."""
    sections = []
    for stage, path in inputs.histories.items():
        section: dict[str, str | None] = {"stage": stage, "loss": None, "rewards": None, "missing": None}
        history = curves.read_history(path) if path.is_file() else []
        if not history:
            section["missing"] = f"no training history in {path.name}; the stage did not run here, or logged nothing."
        if any("loss" in entry for entry in history):
            section["loss"] = f"loss-{stage}"
            chart = partial(curves.loss_chart, f"{spell(stage)}: loss", history)
            curves.save_themed(chart, images, f"loss-{stage}")
        if curves.reward_names(history):
            section["rewards"] = f"rewards-{stage}"
            chart = partial(curves.reward_chart, f"{spell(stage)}: rewards", history)
            curves.save_themed(chart, images, f"rewards-{stage}")
        sections.append(section)
    return sections


def _write_charts(inputs: ReportInputs, images: Path) -> None:
    is_clean = [clip.is_clean for clip in inputs.clips]
    bins = reliability(inputs.scores, is_clean, inputs.bins)
    pairs = zip(inputs.clips, inputs.judgements, strict=True)
    overlaps = [one for clip, judgement in pairs if (one := window_iou(judgement, clip)) is not None]
    curves.save_themed(partial(curves.reliability_chart, bins), images, "reliability")
    curves.save_themed(partial(curves.score_chart, inputs.scores, is_clean), images, "scores")
    curves.save_themed(partial(curves.iou_chart, overlaps), images, "temporal-iou")
    curves.save_themed(partial(curves.family_chart, inputs.per_family), images, "families")


def _write_example(example: Example, inputs: ReportInputs, images: Path) -> dict[str, object]:
    name = f"clip-{inputs.clips.index(example.clip):04d}.png"
    save_image(contact_sheet(inputs.load_video(example.clip), example.clip, example.judgement), images / name)
    return {"example": example, "image": name, "definitions": _definitions(example.clip)}


def _definitions(clip: Clip) -> list[str]:
    return [f"{anomaly.leaf}: {LEAVES[anomaly.leaf].definition}" for anomaly in clip.anomalies]


def _render(inputs: ReportInputs, sections: object, examples: object) -> str:
    from jinja2 import Environment, StrictUndefined

    source = files("cac.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["title"] = spell
    environment.filters["number"] = _number
    return environment.from_string(source).render(
        inputs=inputs,
        final=inputs.metrics["test"][inputs.final],
        tiles=TILES,
        tables=[_table(split, inputs.metrics[split]) for split in _SPLITS if split in inputs.metrics],
        family_table=_plain_table(inputs.per_family, curves.FAMILY_METRICS, compared=False),
        group_tables=[
            {"split": split, "measure": measure, "table": _plain_table(rows, GROUP_METRICS, compared=False)}
            for split, measures in inputs.groups.items()
            for measure, rows in measures.items()
        ],
        outcomes=_count_outcomes(inputs),
        sections=sections,
        examples=examples,
    )


def _table(split: str, rows: Table) -> dict[str, object]:
    """Return a split's tables: the headline metrics, and all of them."""
    return {"split": split, "headline": _plain_table(rows, HEADLINE), "full": _plain_table(rows, tuple(METRICS))}


def _plain_table(rows: Table, columns: Sequence[str], compared: bool = True) -> dict[str, object]:
    """Return {"columns", "rows"}; a row is (name, cells), a cell an interval with "best" set if rows are compared.

    The ceiling is never the best: no model has its answers.
    """
    models = [row for name, row in rows.items() if name != PERFECT_ANSWERS]
    shown = {metric: [_number(row[metric]["value"]) for row in models] for metric in columns}
    best = {metric: _best(metric, shown[metric]) if compared else None for metric in columns}
    cells = [
        (
            name,
            [
                {**row[metric], "best": name != PERFECT_ANSWERS and _number(row[metric]["value"]) == best[metric]}
                for metric in columns
            ],
        )
        for name, row in rows.items()
    ]
    return {"columns": columns, "rows": cells}


def _best(metric: str, values: Iterable[str]) -> str | None:
    """Return the best value as shown, so that what looks equal is; None where no way is better or all are equal."""
    known = {value for value in values if value != _UNDEFINED}
    higher_is_better = METRICS[metric].higher_is_better
    if higher_is_better is None or len(known) < 2:
        return None
    return max(known, key=float) if higher_is_better else min(known, key=float)


def _count_outcomes(inputs: ReportInputs) -> dict[str, int]:
    examples = [Example(*row) for row in zip(inputs.clips, inputs.judgements, inputs.scores, strict=True)]
    return {name: sum(example.outcome == name for example in examples) for name in OUTCOMES}


def spell(name: str) -> str:
    """Return a name for people: `temporal_iou` as "temporal IoU", `two_turn_grpo` as "two turn GRPO"."""
    return " ".join(_ACRONYMS.get(word, word) for word in name.split("_"))


def _number(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:.2f}"
