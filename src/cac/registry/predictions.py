"""A version's predictions, clip by clip: annotation, judgement and score; saved with its MLflow run.

They are JSON lines, one clip a line, so that two versions can be compared on the same clips long after either was made,
with metrics computed by the same code. A set of clips is identified by a hash of its files and annotations. Out of
scope: the comparison of two versions (`comparison.py`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cac.errors import CacError
from cac.evaluation.facts import Facts, clip_facts
from cac.evaluation.metrics import point_values
from cac.model.calibration import Calibration
from cac.paths import DATASET, EVALUATION
from cac.schema.annotations import Clip, Split, parse_clip, read_clips
from cac.schema.judgement import Judgement
from cac.tracking.run_state import json_sha256

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PREDICTIONS_FILE = EVALUATION / "predictions.jsonl"
SPLIT: Split = "test"
_TOLERANCE = 1e-6  # metrics are written with six digits

_EVALUATE = "Run `dvc repro evaluate`."


@dataclass(frozen=True)
class Predictions:
    """Clips sorted by id, and aligned with them the judgements and the scores (probability of clean, in [0, 1])."""

    clips: tuple[Clip, ...]
    judgements: tuple[Judgement, ...]
    scores: tuple[float, ...]

    @property
    def evaluation_set(self) -> str:
        """The hash of the set of clips."""
        return evaluation_set(self.clips)

    def facts(self, bins: int) -> Facts:
        """Return the facts metrics are computed from; `bins` are those of the calibration error."""
        return clip_facts(self.clips, self.judgements, self.scores, bins)

    def to_lines(self) -> str:
        """Return a JSON object a line; the same answers give the same text."""
        rows = zip(self.clips, self.judgements, self.scores, strict=True)
        return "".join(
            json.dumps(
                {"clip": clip.model_dump(mode="json"), "judgement": judgement.to_dict(), "score": score}, sort_keys=True
            )
            + "\n"
            for clip, judgement, score in rows
        )

    @classmethod
    def from_lines(cls, text: str, where: str) -> "Predictions":
        """Read what `to_lines` wrote.

        Raises:
            CacError: a clip's annotation is not valid; the message begins with `where`.
        """
        rows = [json.loads(line) for line in text.splitlines()]
        clips = tuple(parse_clip(json.dumps(row["clip"]), where) for row in rows)
        return cls(clips, tuple(Judgement.from_dict(row["judgement"]) for row in rows), tuple(r["score"] for r in rows))


def align_predictions(clips: Sequence[Clip], judgements: Sequence[Judgement], calibration: Calibration) -> Predictions:
    """Return the predictions of aligned clips and judgements, sorted by clip id."""
    rows = sorted(zip(clips, judgements, strict=True), key=lambda row: row[0].clip_id)
    scores = tuple(calibration.probability(judgement) for _, judgement in rows)
    return Predictions(tuple(clip for clip, _ in rows), tuple(judgement for _, judgement in rows), scores)


def evaluation_set(clips: Sequence[Clip]) -> str:
    """Return the SHA-256 of a set of clips, over each clip's file, pair and annotation, in any order."""
    rows = [
        clip.model_dump(mode="json", include={"clip_id", "sha256", "pair_id", "anomalies", "distractors"})
        for clip in clips
    ]
    return json_sha256(sorted(rows, key=lambda row: row["clip_id"]))


def read_test_clips(root: Path) -> list[Clip]:
    """Return the clips of the test split of the dataset under `root`."""
    return read_clips(root / DATASET, SPLIT)


def read_predictions(root: Path, row: str, calibration: Calibration) -> Predictions:
    """Return a checkpoint's predictions on the test split, from the last evaluation under `root`.

    Raises:
        CacError: there are no predictions, or they are of other clips than the dataset's.
    """
    path = root / PREDICTIONS_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
    except OSError as error:
        raise CacError(f"cannot read {path}: {error.strerror}. {_EVALUATE}") from error
    except json.JSONDecodeError as error:
        raise CacError(f"{path} is not valid JSON: {error}. Run `dvc repro --force evaluate`.") from error
    judgements = {r["clip_id"]: r["judgement"] for r in rows if (r["row"], r["split"]) == (row, SPLIT)}
    clips = read_test_clips(root)
    if not clips or judgements.keys() != {clip.clip_id for clip in clips}:
        raise CacError(f"{path} and the {SPLIT} split of {root / DATASET} are not of the same clips. {_EVALUATE}")
    return align_predictions(clips, [Judgement.from_dict(judgements[clip.clip_id]) for clip in clips], calibration)


def check_metrics_match(
    measured: Predictions, reported: Mapping[str, Mapping[str, Any]], names: Sequence[str], bins: int
) -> None:
    """Check that reported metrics, {metric: {"value"}}, are those of these predictions.

    Raises:
        CacError: a metric differs.
    """
    values = point_values(measured.facts(bins))
    for name in names:
        value, said = values[name], reported[name]["value"]
        if value is None or not abs(value - said) <= _TOLERANCE:
            raise CacError(
                f"the test answers give {name} {value}, but the metrics say {said}: they are not of one evaluation, or "
                f"the annotations have changed since. {_EVALUATE}"
            )


EVALUATION_SET_TAG = "evaluation_set"  # of the metrics in the version's tags


def predictions_tag(evaluation_set: str) -> str:
    """Return the version's tag that holds the file name of its predictions on a set of clips."""
    return f"measured_{evaluation_set[:16]}"


def run_id_of(version: "ModelVersion") -> str:
    """Return the MLflow run that made a version.

    Raises:
        CacError: it has none, so `cac register` did not make it.
    """
    if not version.run_id:
        raise CacError(f"{version.name} version {version.version} has no MLflow run. Use one that `cac register` made.")
    return version.run_id


def save_predictions(client: "MlflowClient", run_id: str, measured: Predictions) -> dict[str, str]:
    """Write predictions to a version's run and return the tag to set on the version, {key: value}."""
    text = measured.to_lines()
    name = _sha256(text)
    client.log_text(run_id, text, _artifact(name))
    return {predictions_tag(measured.evaluation_set): name}


def load_predictions(client: "MlflowClient", version: "ModelVersion", evaluation_set: str) -> Predictions | None:
    """Return a version's predictions on a set of clips; None if it was never evaluated on them.

    Raises:
        CacError: their file is missing or damaged, or the version has no run.
    """
    from mlflow.exceptions import MlflowException

    name = version.tags.get(predictions_tag(evaluation_set))
    if name is None:
        return None
    run_id = run_id_of(version)
    where = f"{_artifact(name)} of MLflow run {run_id}"
    try:
        with TemporaryDirectory(prefix="cac-measured-") as scratch:
            text = Path(client.download_artifacts(run_id, _artifact(name), scratch)).read_text(encoding="utf-8")
    except (MlflowException, OSError) as error:
        raise CacError(f"cannot read {where}, the answers of version {version.version}: {error}. {_REMEDY}") from error
    if _sha256(text) != name:
        raise CacError(f"{where}, the answers of version {version.version}, is damaged. {_REMEDY}")
    return Predictions.from_lines(text, where)


_REMEDY = "Restore it from a backup. `cac promote --remeasure` evaluates the champion and the best version again."


def _artifact(name: str) -> str:
    return f"measured/{name}.jsonl"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
