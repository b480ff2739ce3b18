"""The model card: what a registered version is, what it was made from and for, how good it is, where not to trust it.

The order of its parts follows Mitchell et al. 2019, "Model Cards for Model Reporting". Pure: the same facts give the
same Markdown, so no dates, no run ids and no paths but those of its own pictures. `summary` fits MLflow's description
field; `model_card` is the whole of it. Left out: the pictures and the page (`card_files.py`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cac.evaluation.intervals import Interval
from cac.evaluation.metrics import METRICS
from cac.evaluation.report import Example, spell
from cac.paths import TRAINING_STAGES
from cac.registry.card_data import CardData, DatasetSummary, Metrics, Span

MAX_DESCRIPTION = 5000  # characters; the column's size in MLflow's database (store/model_registry/dbmodels)

_COMPARED = ("balanced_accuracy", "auroc", "temporal_iou", "spatial_iou")
_OF_FAMILIES = ("recall", "accuracy", "temporal_iou", "spatial_iou", "family_accuracy")
_STAGES = ("base", "base_guided", *TRAINING_STAGES)
_MOST_NAMES = 5

_INTENDED = """\
- As a reward where a video generator is trained by reinforcement, together with a term for motion; to rank several
  videos of one prompt, and keep the best; to filter generated clips before a person looks at them.
- By people who have measured it on some of their own footage first, and who look at the evidence, not only the score.
"""

_NOT_INTENDED = """\
- Not to tell generated videos from filmed ones, nor for moderation, forensics or any decision about a person.
- Not to judge beauty, style, or whether a video shows what was asked for: it looks for anomalies, and nothing else.
- Not as the only judge of a generator that was trained on it: what has been optimised measures no longer.
"""

_LIMITS = """\
- It knows the kinds of anomaly of its training clips. One of a kind that it has not met may well pass.
- The numbers hold for the test split of the data version above. On other footage measure first.
- It sees a few frames at low resolution; an anomaly shorter than the gap between coarse frames can be missed.
- A reward can be gamed: a still video has no anomaly. Watch clips of high score while a generator trains on it.
"""


@dataclass(frozen=True)
class Pictures:
    """Names of a card's pictures, relative to it: {name of a chart: file}, and (example, file) as chosen."""

    charts: Mapping[str, str]
    examples: Sequence[tuple[Example, str]]


def summary(facts: CardData) -> str:
    """Return the card's core, without pictures, cut to no more than MAX_DESCRIPTION characters at a section."""
    text = ""
    for section in (_head(facts), _usage(facts), _comparison(facts), _limits(facts, {}), _quality(facts)):
        if len(text) + len(section) > MAX_DESCRIPTION:
            break
        text += section
    return text


def model_card(facts: CardData, families: Metrics, pictures: Pictures) -> str:
    """Return the whole card as Markdown; `families` is {family: {metric: interval}} on the test split."""
    return "".join(
        (
            _head(facts),
            _intended(),
            _usage(facts),
            _data(facts.data, facts.state.data_md5),
            _comparison(facts),
            _quality(facts),
            _families(families, facts.data, pictures.charts),
            _calibration(facts, pictures.charts),
            _examples(pictures),
            _limits(facts, families),
            _settings(facts),
        )
    )


def _head(facts: CardData) -> str:
    state, params = facts.state, facts.params
    return f"""\
# {plain(params.registry.model_name)}

A video reward model: it scans a clip, looks closely at suspicious windows, and gives a verdict with boxes and a score,
the calibrated probability that the clip is free of anomalies.
Checkpoint {plain(facts.row)}, an adapter on {plain(params.model.base)}.

| made from | |
| --- | --- |
| code | `{state.git_commit}` (uncommitted changes: {state.git_dirty}) |
| data | `{state.data_md5}` |
| settings | `{state.params_sha256}` |
| pipeline | `{state.stages_sha256}` |
| environment | `{state.environment_sha256}` |
| score | sigmoid(margin / {facts.calibration.temperature:.4f} + {facts.calibration.bias:.4f}) |
"""


def _intended() -> str:
    return f"\n## Intended use\n\n{_INTENDED}\n## Not intended\n\n{_NOT_INTENDED}"


def _usage(facts: CardData) -> str:
    name = facts.params.registry.model_name
    return f"""
## Use

```python
import mlflow

# MLFLOW_TRACKING_URI says where; models:/{name}/VERSION is one version
model = mlflow.pyfunc.load_model("models:/{name}@champion")
rows = model.predict(["clip.mp4"])  # score, verdict, windows, family, leaf, boxes, evidence, parsed, …
```
"""


def _data(data: DatasetSummary, version: str) -> str:
    families = sorted({family for split in data.splits.values() for family in split.families})
    header = ("split", "clips", "pairs", "clean", *(f"with {spell(family)}" for family in families))
    rows = [
        (name, *map(str, (split.clips, split.pairs, split.clean, *(split.families.get(f, 0) for f in families))))
        for name, split in data.splits.items()
    ]
    return f"""{_table("Data", header, rows)}
Version `{version}`, licence {plain(data.licence)}. Clips of {_span(data.seconds)} s, {_span(data.fps)} frames a second,
sides of {_span(data.sides)} pixels. Sources: {_names(data.sources)}. Generators: {_names(data.generators)}.

A pair is an anomalous clip and its clean twin, of the same scene. Trained on `train`; scores are calibrated on `val`.
All numbers are of the other splits, which no training stage reads.
"""


def _comparison(facts: CardData) -> str:
    order = [*(name for name in _STAGES if name in facts.metrics), *sorted(facts.metrics.keys() - set(_STAGES))]
    rows = [(plain(name), *(_interval(facts.metrics[name].get(metric)) for metric in _COMPARED)) for name in order]
    title = "Checkpoints and baselines on test, with 95 % intervals"
    return _table(title, ("", *map(spell, _COMPARED)), rows)


def _quality(facts: CardData) -> str:
    shown = {name: facts.splits[name][facts.row] for name in ("test", "test_shifted") if _has(facts, name)}
    rows = [
        (spell(metric), *(_interval(metrics.get(metric)) for metrics in shown.values()))
        for metric in METRICS
        if metric in facts.metrics[facts.row]
    ]
    return _table(f"All metrics of {facts.row}, with 95 % intervals", ("metric", *shown), rows)


def _has(facts: CardData, split: str) -> bool:
    return facts.row in facts.splits.get(split, {})


def _families(families: Metrics, data: DatasetSummary, charts: Mapping[str, str]) -> str:
    counts = data.splits["test"].families
    rows = [
        (spell(name), str(counts.get(name, 0)), *(_interval(metrics.get(metric)) for metric in _OF_FAMILIES))
        for name, metrics in families.items()
    ]
    table = _table("By family of anomaly, on test", ("family", "clips", *map(spell, _OF_FAMILIES)), rows)
    note = "\nAccuracy is that of the family's clips and their clean twins together.\n"
    return table + note + _pictures({"Metrics by anomaly family with their intervals": charts["families"]})


def _calibration(facts: CardData, charts: Mapping[str, str]) -> str:
    error = _interval(facts.metrics[facts.row].get("expected_calibration_error"))
    return (
        "\n## Can the score be taken at its word?\n\n"
        "Of the clips that get a score near 0.8, about 80 % should be clean: then the points lie on the diagonal.\n"
        f"Their size says how many clips they stand for. The mean gap (expected calibration error) is {error}.\n"
        + _pictures({"Reliability diagram": charts["reliability"], "Scores by class": charts["scores"]})
    )


def _examples(pictures: Pictures) -> str:
    text = (
        "\n## Examples\n\n"
        "Test clips chosen by rule: found, missed, false alarm and rightly passed in equal parts as far as there are\n"
        "any, each spread evenly over the kinds of anomaly. Truth is teal and solid, what the model said is orange\n"
        "and dashed; the bars below a frame say whose window it is in.\n"
    )
    return text + "".join(_example(example, file) for example, file in pictures.examples)


def _example(example: Example, file: str) -> str:
    truth = ", ".join(spell(anomaly.leaf) for anomaly in example.clip.anomalies) or "clean"
    said = spell(example.judgement.leaf) if example.judgement.leaf else str(example.judgement.verdict)
    facts = [f"score {example.score:.2f}", f"truth: {truth}", f"said: {said}"]
    if example.overlap is not None:
        facts.append(f"temporal IoU {example.overlap:.2f}")
    if not example.judgement.parsed:
        facts.append("the answer could not be parsed")
    answer = example.judgement.look_text or "(no answer)"
    quoted = "\n".join(f"    {line}" for line in re.split(r"\r\n|[\n\r\v\f\x85\u2028\u2029]", answer))
    return (
        f"\n### {example.outcome}: {plain(example.clip.clip_id)}\n\n{plain('; '.join(facts))}\n"
        f"{_pictures({f'Frames of {example.clip.clip_id} with truth and prediction': file})}\n{quoted}\n"
    )


def _limits(facts: CardData, families: Metrics) -> str:
    measured = "".join(f"- {limit}\n" for limit in _measured_limits(facts, families))
    return f"\n## Limits\n\n{_LIMITS}{measured}"


def _measured_limits(facts: CardData, families: Metrics) -> list[str]:
    """Say what the numbers say against the model."""
    own, limits = facts.metrics[facts.row], []
    parsed = own.get("parse_rate", {}).get("value")
    if parsed is not None:
        share = f"{100 * (1 - parsed):.1f} %"
        then = f"{facts.calibration.score(0.0):.2f}"
        limits.append(f"{share} of its answers on test cannot be parsed (`parsed` is false); the score is then {then}.")
    unaided = own.get("unaided_rate", {}).get("value")
    if unaided is not None:
        limits.append(f"The grammar had to correct {100 * (1 - unaided):.1f} % of its answers on test.")
    known = {name: _value(metrics.get("recall")) for name, metrics in families.items()}
    recalls = {name: recall for name, recall in known.items() if recall is not None}
    if recalls:
        weakest = min(recalls, key=lambda name: recalls[name])
        limits.append(f"Its weakest family is {spell(weakest)}: recall {_interval(families[weakest]['recall'])}.")
    if _has(facts, "test_shifted"):
        shifted = _interval(facts.splits["test_shifted"][facts.row].get("balanced_accuracy"))
        limits.append(f"On scenes of a style it was not trained on its balanced accuracy is {shifted}.")
    return limits


def _settings(facts: CardData) -> str:
    text = json.dumps(facts.params.model_dump(mode="json"), indent=2)
    return f"\n## Settings\n\n```json\n{text}\n```\n"


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [_row(header), "| --- " * len(header) + "|", *map(_row, rows)]
    return f"\n## {plain(title)}\n\n" + "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _pictures(files: Mapping[str, str]) -> str:
    """Write pictures beside each other, {what is seen: file}."""
    return "\n" + " ".join(f"![{plain(what)}]({file})" for what, file in files.items()) + "\n"


def plain(text: str) -> str:
    """Return text with all that Markdown or HTML would read as their own escaped, on one line."""
    return re.sub(r"([\\`*\[\]<>|#~&]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))


def _names(counts: Mapping[str, int]) -> str:
    shown = [f"{plain(name) or '(none)'} ({count} clips)" for name, count in list(counts.items())[:_MOST_NAMES]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _span(span: Span) -> str:
    low, high = (f"{value:.4g}" for value in span)
    return low if low == high else f"{low} to {high}"


def _value(interval: Interval | None) -> float | None:
    return None if interval is None else interval["value"]


def _interval(value: Interval | None) -> str:
    """Write a value with its interval; "undefined" where there is none, such as a constant's AUROC."""
    middle, low, high = (None, None, None) if value is None else (value["value"], value["low"], value["high"])
    if middle is None or low is None or high is None:
        return "undefined"
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"
