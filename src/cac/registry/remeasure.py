"""Evaluate the champion again, on the clips that its challenger was evaluated on.

Needed when the test split has changed since the champion was registered. The model is loaded from the registry and
judges as in `cac evaluate`: the same code, batch size and seed. The predictions are saved with the champion, so this
runs once for each test split.
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


def remeasure_champion(
    client: "MlflowClient", champion: "ModelVersion", challenger: Predictions, params: Params, root: Path
) -> "ModelVersion":
    """Evaluate the champion on the test split under `root`, save its predictions, and return it with its new tags.

    Raises:
        CacError: the challenger was not evaluated on that test split, or the champion's package cannot be loaded.
    """
    clips = read_test_clips(root)
    if evaluation_set(clips) != challenger.evaluation_set:
        raise CacError(
            f"the {SPLIT} split of {root / DATASET} is not the one the challenger was measured on. Get that one with "
            "`dvc checkout`, or evaluate and register the challenger on this one."
        )
    from cac.model.loading import make_deterministic
    from cac.registry.loading import load_model

    make_deterministic(params.compute)
    model = load_model(f"models:/{champion.name}/{champion.version}")
    tags = save_predictions(client, run_id_of(champion), _judge_test_split(model, root, params.evaluation.batch_size))
    for key, value in tags.items():
        client.set_model_version_tag(champion.name, champion.version, key, value)
    return client.get_model_version(champion.name, champion.version)


def _judge_test_split(model: "RewardModel", root: Path, batch_size: int) -> Predictions:
    """Return a model's predictions on the test split under `root`, and print progress."""
    from cac.video.clip_store import ClipStore

    store, clips = ClipStore(root / DATASET), read_test_clips(root)
    judgements = []
    for judgement in model.iter_judgements([store.video(clip) for clip in clips], batch_size):
        judgements.append(judgement)
        if len(judgements) % batch_size == 0 or len(judgements) == len(clips):
            print(f"champion  {SPLIT}  {len(judgements)}/{len(clips)} clips", flush=True)
    return align_predictions(clips, judgements, model.calibration)
