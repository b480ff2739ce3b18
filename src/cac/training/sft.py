"""The training loop of both supervised stages: dialogues whose answers are the annotations.

The stages differ in the adapter they start from and in their samples; see `single_frame_sft.py` and
`multi_frame_sft.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cac.io import distributed
from cac.model.adapters import freeze_vision, load_adapter, new_adapter, save_adapter
from cac.model.loading import base_identity, load_base, make_deterministic
from cac.params import Params, Sft
from cac.paths import DATASET, HISTORIES, MODELS
from cac.schema.annotations import MANIFEST_NAME, Clip, read_clips
from cac.training import checkpoints
from cac.training.collator import Dialogue
from cac.training.samples import build_dialogue, draw_specs
from cac.training.train_partition import sft_clips
from cac.training.trainer_arguments import TrainerInputs
from cac.video.clip_store import ClipStore
from cac.video.segments import clip_segments

DISPLAYED_METRICS = ("loss", "mean_token_accuracy", "learning_rate")


@dataclass(frozen=True)
class SftStage:
    """A supervised stage: its name, its settings, and the stage whose adapter it starts from (None: a new adapter)."""

    name: str
    settings: Sft
    previous: str | None


def train_stage(stage: SftStage, params: Params, root: Path) -> None:
    """Train an adapter, write it to `models/<stage>` and its history to `metrics/<stage>.json`.

    Resumes from the last checkpoint of an interrupted run with the same inputs.

    Raises:
        CacError: the dataset, the base or the previous adapter is missing or does not fit.
    """
    from cac.model.patches.trl_training_passes import speed_up_training_passes
    from cac.tracking.mlflow_runs import shared_run
    from cac.training.progress import report_progress, write_history
    from cac.training.sft_trainer import build_trainer

    make_deterministic(params.compute)
    base, processor = load_base(params.model)
    identity = base_identity(params.model)
    if stage.previous is None:
        model = new_adapter(base, params.adapter)
    else:
        model = load_adapter(base, root / MODELS / stage.previous, identity, params.adapter, trainable=True)
    if not stage.settings.train_vision:
        freeze_vision(model)
    speed_up_training_passes(model, params.adapter)
    with distributed.main_process_first():
        folder = checkpoints.prepare_folder(root, stage.name, _checkpoint_key(stage, params, root))
    with shared_run(stage.name, params) as run:
        dialogues = _dialogues(stage.settings, params, root)
        inputs = TrainerInputs(model, processor, folder)
        trainer = build_trainer(stage.name, stage.settings, params.compute, inputs, dialogues)
        report_progress(trainer, stage.name, DISPLAYED_METRICS, run.log_metrics)
        checkpoints.train(trainer, folder)
    weights = distributed.gathered_weights(trainer)
    if distributed.is_main_process():
        save_adapter(trainer.model, root / MODELS / stage.name, identity, weights)
        write_history(trainer.state.log_history, root / HISTORIES / f"{stage.name}.json")
        checkpoints.remove(folder)
    distributed.wait_for_everyone()


def _checkpoint_key(stage: SftStage, params: Params, root: Path) -> checkpoints.CheckpointKey:
    """Return what the result of the stage depends on."""
    inputs = [root / DATASET / MANIFEST_NAME]
    if stage.previous is not None:
        inputs.append(root / MODELS / stage.previous)
    return checkpoints.checkpoint_key(params.sections(stage.name), inputs, params.model, root, stage.name)


def _dialogues(settings: Sft, params: Params, root: Path) -> list[Callable[[], Dialogue]]:
    """Draw the samples of a stage and return a function for each that makes its dialogue."""
    clips = sft_clips(read_clips(root / DATASET, "train"), params.train_partition)
    if params.frames.looks:
        clips = _with_windows(clips)
    clips = [segment for clip in clips for segment in clip_segments(clip, params.frames)]
    store = ClipStore(root / DATASET)
    specs = draw_specs(clips, settings, params.compute.seed)
    return [partial(build_dialogue, spec, clips, store, params.frames) for spec in specs]


def _with_windows(clips: Sequence[Clip]) -> list[Clip]:
    """Return the clips of which it is known when they are anomalous, and say how many are not.

    Answers say of each frame whether it shows the anomaly, so a true one about the others cannot be written.
    """
    chosen = [clip for clip in clips if clip.has_all_windows]
    if len(chosen) < len(clips):
        print(f"skips {len(clips) - len(chosen)} clips with an anomaly without a window", flush=True)
    return chosen
