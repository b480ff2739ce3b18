"""The model card: what a registered version is, what it was made from, how good it is, and where not to trust it.

Pure: the same facts give the same text, so no dates and no run ids. `summary` fits MLflow's description field;
`model_card` adds all settings and is kept beside the weights.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from cac.evaluation.calibration import Calibration
from cac.params import Params
from cac.registry.fingerprint import Fingerprint

Interval = Mapping[str, float | None]
Metrics = Mapping[str, Mapping[str, Interval]]

MAX_DESCRIPTION = 5000  # characters; the column's size in MLflow's database (store/model_registry/dbmodels)

_LIMITS = """\
- It knows the kinds of anomaly of its training clips, and judges nothing else: not beauty, not prompt fidelity.
- The numbers hold for the test split of the data version above. On other footage measure first.
- A score of 0.5 may mean that the answer could not be parsed (`parsed` is false): the model abstains.
- It sees a few frames at low resolution; an anomaly shorter than the gap between coarse frames can be missed.
- A reward can be gamed: watch clips of high score while a generator trains on it."""


@dataclass(frozen=True)
class CardFacts:
    """What the card is written from.

    Attributes:
        params: the settings of the run.
        state: what the model was made from.
        metrics: the test split, {row: {metric: {"value", "low", "high"}}}, rows being checkpoints and baselines.
        row: the row that is the registered checkpoint.
        calibration: what makes the score of the margin, the log odds of "none".
    """

    params: Params
    state: Fingerprint
    metrics: Metrics
    row: str
    calibration: Calibration


def summary(facts: CardFacts) -> str:
    """Return the card without the settings, cut to no more than MAX_DESCRIPTION characters at a section."""
    text = ""
    for section in (_head(facts), _usage(facts), _comparison(facts), _limits(), _quality(facts)):
        if len(text) + len(section) > MAX_DESCRIPTION:
            break
        text += section
    return text


def model_card(facts: CardFacts) -> str:
    """Return the whole card as Markdown."""
    sections = (_head(facts), _usage(facts), _comparison(facts), _quality(facts), _limits(), _settings(facts))
    return "".join(sections)


def _head(facts: CardFacts) -> str:
    state, params = facts.state, facts.params
    return f"""\
# {params.registry.model_name}

A video reward model: it scans a clip, looks closely at suspicious windows, and gives a verdict with boxes and a score,
the calibrated probability that the clip is free of anomalies.
Checkpoint `{facts.row}`, an adapter on `{params.model.base}`.

| made from | |
| --- | --- |
| code | `{state.git_commit}` (uncommitted changes: {state.git_dirty}) |
| data | `{state.data_md5}` |
| settings | `{state.params_sha256}` |
| pipeline | `{state.stages_sha256}` |
| environment | `{state.environment_sha256}` |
| score | sigmoid(margin / {facts.calibration.temperature:.4f} + {facts.calibration.bias:.4f}) |
"""


def _usage(facts: CardFacts) -> str:
    name = facts.params.registry.model_name
    return f"""
## Use

```python
import mlflow

model = mlflow.pyfunc.load_model("models:/{name}@champion")  # or models:/{name}/VERSION; MLFLOW_TRACKING_URI says where
rows = model.predict([{{"video": "clip.mp4"}}])  # score, verdict, windows, family, leaf, boxes, evidence, parsed, …
```
"""


def _comparison(facts: CardFacts) -> str:
    rows = [
        f"| {name} | {_interval(metrics['balanced_accuracy'])} |"
        for name, metrics in facts.metrics.items()
        if "balanced_accuracy" in metrics
    ]
    return _table("Balanced accuracy on test", ("checkpoint or baseline", "value [95 % interval]"), rows)


def _quality(facts: CardFacts) -> str:
    rows = [f"| {metric} | {_interval(value)} |" for metric, value in facts.metrics[facts.row].items()]
    return _table(f"All metrics of {facts.row} on test", ("metric", "value [95 % interval]"), rows)


def _limits() -> str:
    return f"\n## Limits\n\n{_LIMITS}\n"


def _settings(facts: CardFacts) -> str:
    text = json.dumps(facts.params.model_dump(mode="json"), indent=2)
    return f"\n## Settings\n\n```json\n{text}\n```\n"


def _table(title: str, header: tuple[str, ...], rows: list[str]) -> str:
    lines = [f"| {' | '.join(header)} |", "| --- " * len(header) + "|", *rows]
    return f"\n## {title}\n\n" + "\n".join(lines) + "\n"


def _interval(value: Interval) -> str:
    """Write a value with its interval; "undefined" where there is none, such as a constant's AUROC."""
    middle, low, high = value["value"], value["low"], value["high"]
    if middle is None or low is None or high is None:
        return "undefined"
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"
