"""Registered versions that cost nothing, for trials of the registry: made by the MLflow client, with a file of one line
for a model and invented answers on a few clips. They carry every tag and artifact that a promotion reads. Also the
files an evaluation leaves, for trials of the registration itself.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cac.evaluation.metrics import point_values
from cac.model.calibration import Calibration
from cac.model.nano import OWN_LEAVES
from cac.paths import EVALUATION_METRICS
from cac.registry.candidate import CALIBRATION, CHECKPOINT
from cac.registry.predictions import (
    EVALUATION_SET_TAG,
    PREDICTIONS_FILE,
    SPLIT,
    Predictions,
    align_predictions,
    save_predictions,
)
from cac.registry.versions import COMPLETE, REGISTRATION_TAG, value_tag
from cac.schema.annotations import Anomaly, Clip
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import family_of
from cac.tracking.mlflow_runs import connect, experiment_id

UNFITTED = Calibration()

GOOD = {
    "balanced_accuracy": 0.8,
    "specificity": 0.7,
    "parse_rate": 1.0,
    "expected_calibration_error": 0.05,
    "seconds_per_clip": 0.5,
}


@dataclass(frozen=True)
class Tiny:
    """What a version is to be like.

    Attributes:
        metrics: what differs from GOOD in its tags.
        missed: the pairs, by number, whose anomaly it does not see; otherwise it is always right.
        pairs: how many pairs of clips it was measured on, each with an anomaly of the next leaf.
        data: the dataset's hash; other data means other clips.
        registration: whether it is complete.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    missed: Sequence[int] = ()
    pairs: int = len(OWN_LEAVES)
    data: str = "d.dir"
    registration: str = COMPLETE


def make_version(tiny: Tiny, model_name: str, experiment: str) -> str:
    """Register such a version in the store MLflow points to, and return its number."""
    from mlflow.exceptions import MlflowException

    client = connect()
    try:
        client.create_registered_model(model_name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    run_id = client.create_run(experiment_id(client, experiment)).info.run_id
    client.log_text(run_id, "a model\n", "model/model.txt")
    measured = answers(tiny)
    tags = {value_tag(name): repr(value) for name, value in {**GOOD, **tiny.metrics}.items()}
    tags |= {
        EVALUATION_SET_TAG: measured.evaluation_set,
        "data_md5": tiny.data,
        **save_predictions(client, run_id, measured),
    }
    tags[REGISTRATION_TAG] = tiny.registration
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    return str(client.create_model_version(model_name, source, run_id=run_id, tags=tags).version)


def answers(tiny: Tiny, calibration: Calibration = UNFITTED) -> Predictions:
    """Return the invented answers of such a version."""
    clips = [_clip(i, leaf, tiny.data) for i in range(tiny.pairs) for leaf in (OWN_LEAVES[i % len(OWN_LEAVES)], None)]
    return align_predictions(clips, [_judgement(clip, int(clip.pair_id) in tiny.missed) for clip in clips], calibration)


def _clip(pair: int, leaf: str | None, data: str) -> Clip:
    name = f"{pair:03d}-{leaf or 'clean'}"
    window = Anomaly(family=family_of(leaf), leaf=leaf, window=(0.5, 1.0), boxes=(), saliency=0.5) if leaf else None
    return Clip(
        clip_id=name,
        path=f"clips/{name}.mp4",
        sha256=hashlib.sha256(f"{data}/{name}".encode()).hexdigest(),
        fps=8.0,
        frame_count=16,
        width=96,
        height=96,
        source="invented",
        generator="invented",
        split="test",
        pair_id=f"{pair:03d}",
        anomalies=(window,) if window else (),
    )


def _judgement(clip: Clip, missed: bool) -> Judgement:
    if clip.is_clean or missed:
        return Judgement(2.0, "clean", (), (), None, None, True, 8, "", "")
    (anomaly,) = clip.anomalies
    return Judgement(-2.0, "anomalous", tuple(clip.windows), (), anomaly.family, anomaly.leaf, True, 8, "", "")


def write_evaluation(root: Path, measured: Predictions, calibration: Calibration) -> None:
    """Write the metrics, predictions and calibration that `cac evaluate` would leave of these answers."""
    values = point_values(measured.facts(bins=10))
    row = {name: {"value": value, "low": value, "high": value} for name, value in values.items()}
    rows = [
        {"row": CHECKPOINT, "split": SPLIT, "clip_id": clip.clip_id, "judgement": judgement.to_dict()}
        for clip, judgement in zip(measured.clips, measured.judgements, strict=True)
    ]
    contents = {
        EVALUATION_METRICS: json.dumps({SPLIT: {CHECKPOINT: row}, "val": {}}),
        PREDICTIONS_FILE: "".join(json.dumps(line) + "\n" for line in rows),
        CALIBRATION: json.dumps({CHECKPOINT: asdict(calibration)}),
    }
    for path, text in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
