"""The model card of a registered version, as Markdown: `model_card.md.jinja` filled with the content of a `CardData`.

The sections follow Mitchell et al. 2019, "Model Cards for Model Reporting". The same content gives the same Markdown:
it contains no dates, no run ids and no paths except those of its pictures. `summary` fits MLflow's description field.
`card_files.py` draws the pictures and writes the files.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from cac.evaluation.intervals import Interval
from cac.evaluation.metrics import METRICS
from cac.evaluation.report import Example, spell
from cac.paths import TRAINING_STAGES
from cac.registry.card.card_data import CardData, DatasetSummary, Metrics, Span
from cac.schema.annotations import EXTRA_SPLITS

if TYPE_CHECKING:
    from jinja2.environment import TemplateModule

MAX_DESCRIPTION = 5000  # characters; the column's size in MLflow's database (store/model_registry/dbmodels)

_COMPARISON_METRICS = ("balanced_accuracy", "auroc", "temporal_iou", "spatial_iou")
_FAMILY_METRICS = ("recall", "accuracy", "temporal_iou", "spatial_iou", "family_accuracy")
_STAGES = ("base", "base_guided", *TRAINING_STAGES)
_MAX_NAMES = 5

_SECTIONS = (
    "description",
    "intended_use",
    "usage",
    "training_data",
    "comparison",
    "all_metrics",
    "families",
    "calibration_quality",
    "examples",
    "limitations",
    "settings",
)
_SUMMARY_SECTIONS = ("description", "usage", "comparison", "limitations", "all_metrics")


@dataclass(frozen=True)
class Pictures:
    """The files of a card's pictures, relative to the card.

    Attributes:
        charts: {name of the chart: file}.
        examples: (example, file) in the order to show.
    """

    charts: Mapping[str, str]
    examples: Sequence[tuple[Example, str]]


def summary(facts: CardData) -> str:
    """Return the main sections without pictures; stops before the section that would exceed MAX_DESCRIPTION."""
    sections, text = _load_sections(_common_values(facts, {})), ""
    for name in _SUMMARY_SECTIONS:
        section = getattr(sections, name)()
        if len(text) + len(section) > MAX_DESCRIPTION:
            break
        text += section
    return text


def model_card(facts: CardData, families: Metrics, pictures: Pictures) -> str:
    """Return the whole card as Markdown; `families` is {family: {metric: interval}} on the test split."""
    values = _common_values(facts, families) | _data_values(facts.data) | _family_values(families, facts.data)
    values |= {
        "pictures": pictures,
        "calibration_error": _format_interval(facts.metrics[facts.row].get("expected_calibration_error")),
        "settings_json": json.dumps(facts.params.model_dump(mode="json"), indent=2),
    }
    sections = _load_sections(values)
    return "".join(getattr(sections, name)() for name in _SECTIONS)


def _load_sections(values: dict[str, Any]) -> "TemplateModule":
    """Return the template with these values; each section is a method that renders it."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(  # the result is Markdown: the filter `plain` escapes
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {
        "plain": plain,
        "span": _format_span,
        "names": _format_names,
        "example_facts": _example_facts,
        "quoted_answer": _quoted_answer,
    }
    source = files("cac.registry.card").joinpath("model_card.md.jinja").read_text(encoding="utf-8")
    return environment.from_string(source).make_module(values)


def _common_values(facts: CardData, families: Metrics) -> dict[str, Any]:
    """Return the values of the sections of the summary."""
    order = [*(name for name in _STAGES if name in facts.metrics), *sorted(facts.metrics.keys() - set(_STAGES))]
    measured = {name: facts.splits[name][facts.row] for name in ("test", *EXTRA_SPLITS) if _has_split(facts, name)}
    return {
        "params": facts.params,
        "state": facts.state,
        "row": facts.row,
        "calibration": facts.calibration,
        "comparison_header": ("", *map(spell, _COMPARISON_METRICS)),
        "comparison_rows": [
            (plain(name), *(_format_interval(facts.metrics[name].get(metric)) for metric in _COMPARISON_METRICS))
            for name in order
        ],
        "metrics_header": ("metric", *measured),
        "metrics_rows": [
            (spell(metric), *(_format_interval(metrics.get(metric)) for metrics in measured.values()))
            for metric in METRICS
            if metric in facts.metrics[facts.row]
        ],
        "measured_limits": _measured_limits(facts, families),
    }


def _data_values(data: DatasetSummary) -> dict[str, Any]:
    families = sorted({family for split in data.splits.values() for family in split.families})
    return {
        "data": data,
        "data_header": ("split", "clips", "pairs", "clean", *(f"with {spell(family)}" for family in families)),
        "data_rows": [
            (name, split.clips, split.pairs, split.clean, *(split.families.get(family, 0) for family in families))
            for name, split in data.splits.items()
        ],
    }


def _family_values(families: Metrics, data: DatasetSummary) -> dict[str, Any]:
    counts = data.splits["test"].families
    return {
        "families_header": ("family", "clips", *map(spell, _FAMILY_METRICS)),
        "families_rows": [
            (spell(name), counts.get(name, 0), *(_format_interval(metrics.get(metric)) for metric in _FAMILY_METRICS))
            for name, metrics in families.items()
        ],
    }


def _has_split(facts: CardData, split: str) -> bool:
    return facts.row in facts.splits.get(split, {})


def _example_facts(example: Example) -> list[str]:
    truth = ", ".join(spell(anomaly.leaf) for anomaly in example.clip.anomalies) or "clean"
    predicted = spell(example.judgement.leaf) if example.judgement.leaf else str(example.judgement.verdict)
    facts = [f"score {example.score:.2f}", f"truth: {truth}", f"predicted: {predicted}"]
    if example.overlap is not None:
        facts.append(f"temporal IoU {example.overlap:.2f}")
    if not example.judgement.parsed:
        facts.append("the answer could not be parsed")
    return facts


def _quoted_answer(example: Example) -> str:
    """Return the model's answer as an indented code block, in which Markdown interprets nothing."""
    answer = example.judgement.look_text or "(no answer)"
    return "\n".join(f"    {line}" for line in re.split(r"\r\n|[\n\r\v\f\x85\u2028\u2029]", answer))


def _measured_limits(facts: CardData, families: Metrics) -> list[str]:
    """Return the limitations that the metrics show, a sentence each."""
    metrics, limits = facts.metrics[facts.row], []
    parsed = metrics.get("parse_rate", {}).get("value")
    if parsed is not None:
        share = f"{100 * (1 - parsed):.1f} %"
        score = f"{facts.calibration.score(0.0):.2f}"
        limits.append(f"{share} of the answers on test cannot be parsed; `parsed` is then false and the score {score}.")
    unaided = metrics.get("unaided_rate", {}).get("value")
    if unaided is not None:
        limits.append(f"Constrained decoding changed {100 * (1 - unaided):.1f} % of the answers on test.")
    known = {name: _value(family.get("recall")) for name, family in families.items()}
    recalls = {name: recall for name, recall in known.items() if recall is not None}
    if recalls:
        weakest = min(recalls, key=lambda name: recalls[name])
        limits.append(
            f"The family with the lowest recall is {spell(weakest)}: {_format_interval(families[weakest]['recall'])}."
        )
    if _has_split(facts, "test_shifted"):
        shifted = _format_interval(facts.splits["test_shifted"][facts.row].get("balanced_accuracy"))
        limits.append(f"On scenes in a style absent from training, the balanced accuracy is {shifted}.")
    if _has_split(facts, "test_hard"):
        hard = _format_interval(facts.splits["test_hard"][facts.row].get("balanced_accuracy"))
        limits.append(f"On long clips with a brief or small anomaly, the balanced accuracy is {hard}.")
    return limits


def plain(text: str) -> str:
    """Return text on one line, with every character escaped that Markdown or HTML would interpret."""
    return re.sub(r"([\\`*\[\]<>|#~&]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))


def _format_names(counts: Mapping[str, int]) -> str:
    shown = [f"{plain(name) or '(none)'} ({count} clips)" for name, count in list(counts.items())[:_MAX_NAMES]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _format_span(span: Span) -> str:
    low, high = (f"{value:.4g}" for value in span)
    return low if low == high else f"{low} to {high}"


def _value(interval: Interval | None) -> float | None:
    return None if interval is None else interval["value"]


def _format_interval(value: Interval | None) -> str:
    """Return a value with its interval; "undefined" if there is none, such as a constant's AUROC."""
    middle, low, high = (None, None, None) if value is None else (value["value"], value["low"], value["high"])
    if middle is None or low is None or high is None:
        return "undefined"
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"
