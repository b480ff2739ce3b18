"""Evaluate the champion and the best version again, on the clips that the candidate was evaluated on.

Needed when the test split has changed since they were registered. Each model is loaded from the registry and judges as
in `cac evaluate`: the same code, batch size and seed. The predictions are saved with the version, so this runs once for
each test split.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.params import Params
from cac.paths import DATASET
from cac.registry.predictions import (
    SPLIT,
    Predictions,
    align_predictions,
    evaluation_set,
    read_test_clips,
    run_id_of,
    save_predictions,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from cac.model.reward_model import RewardModel


def remeasure(
    client: "MlflowClient",
    references: "tuple[ModelVersion | None, ...]",
    candidate: Predictions,
    params: Params,
    root: Path,
) -> "list[ModelVersion | None]":
    """Evaluate versions on the test split under `root`, save their predictions, and return them with their new tags.

    A version that is listed twice is evaluated once; None stays None.

    Raises:
        CacError: the candidate was not evaluated on that test split, or a version's package cannot be loaded.
    """
    clips = read_test_clips(root)
    if evaluation_set(clips) != candidate.evaluation_set:
        raise CacError(
            f"the {SPLIT} split of {root / DATASET} is not the one the candidate was measured on. Get that one with "
            "`dvc checkout`, or evaluate and register the candidate on this one."
        )
    distinct = {str(version.version): version for version in references if version is not None}
    measured = {number: _remeasure(client, version, params, root) for number, version in distinct.items()}
    return [None if version is None else measured[str(version.version)] for version in references]


def _remeasure(client: "MlflowClient", version: "ModelVersion", params: Params, root: Path) -> "ModelVersion":
    from cac.model.loading import make_deterministic
    from cac.registry.loading import load_model

    make_deterministic(params.compute)
    model = load_model(f"models:/{version.name}/{version.version}")
    label = f"version {version.version}"
    predictions = _judge_test_split(model, root, params.evaluation.batch_size, label)
    for key, value in save_predictions(client, run_id_of(version), predictions).items():
        client.set_model_version_tag(version.name, version.version, key, value)
    return client.get_model_version(version.name, version.version)


def _judge_test_split(model: "RewardModel", root: Path, batch_size: int, label: str) -> Predictions:
    """Return a model's predictions on the test split under `root`, and print progress."""
    from cac.video.clip_store import ClipStore

    store, clips = ClipStore(root / DATASET), read_test_clips(root)
    judgements = []
    for judgement in model.iter_judgements([store.video(clip) for clip in clips], batch_size):
        judgements.append(judgement)
        if len(judgements) % batch_size == 0 or len(judgements) == len(clips):
            print(f"{label}  {SPLIT}  {len(judgements)}/{len(clips)} clips", flush=True)
    return align_predictions(clips, judgements, model.calibration)
