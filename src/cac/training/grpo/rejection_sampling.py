"""The first part of stage 3: supervised fine-tuning on the best of the policy's own rollouts.

The policy samples scans and looks of every clip (`rollouts.py`) and the rewards select the best: rejection sampling as
in RAFT (Dong et al. 2023, arXiv 2304.06767), turn by turn. Clips whose rollouts all have the same reward are skipped.
Only the rewards use the annotation: the model trains on its own answers about the frames that its own scan chose. Out
of scope: learning from the other rollouts, which is GRPO's part (`two_turn_grpo.py`).
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cac.errors import CacError
from cac.frames import Frames
from cac.io import distributed
from cac.io.distributed import best_device
from cac.model.adapters import freeze_vision, load_adapter, save_adapter
from cac.model.loading import base_identity, load_base, make_deterministic
from cac.model.patches.transformers_vision_cache import ImageEncodingCache, cache_image_encodings
from cac.params import Params, RejectionSampling, SftOptimisation
from cac.paths import CHECKPOINTS, DATASET, HISTORIES, TWO_TURN_GRPO
from cac.schema.annotations import MANIFEST_NAME, Clip
from cac.schema.dialogue import look_content, scan_prompt, tool_reply, verbatim_reply
from cac.schema.judgement import Judgement
from cac.training import checkpoints
from cac.training.collator import Dialogue
from cac.training.grpo.rollouts import ClipRollouts, rollout_clips, sample_all_rollouts
from cac.training.samples import unknown_coordinates
from cac.training.trainer_arguments import TrainerInputs
from cac.video.clip_store import ClipStore
from cac.video.views import coarse_view, dense_view

NAME = "rejection_sampling"
CACHE_BYTES = 2**30  # of image encodings: enough for a thousand clips of the sample dataset
_DISPLAYED_METRICS = ("loss", "mean_token_accuracy", "learning_rate")
_DONE, _HISTORY = "done", "history.json"

Log = Callable[[dict[str, float], int], None]  # metrics, step


@dataclass(frozen=True)
class _Paths:
    """The project, the adapter to start from, and the checkpoint folder of this part."""

    root: Path
    policy: Path
    folder: Path

    @property
    def adapter(self) -> Path:
        """The trained adapter."""
        return self.folder / "adapter"


def train_on_best_rollouts(params: Params, root: Path, policy: Path, log: Log) -> Path:
    """Train the policy on its own best rollouts and return the new adapter; resumes like the stages.

    Args:
        params: the settings; this part uses `two_turn_grpo.rejection_sampling`.
        root: the project.
        policy: the adapter to start from, which is returned if this part is switched off (`clips: 0`).
        log: receives metrics and their step.

    Raises:
        CacError: the dataset, the base or the adapter is missing or does not fit, or too few clips have rollouts with
            different rewards.
    """
    if not params.two_turn_grpo.rejection_sampling.clips:
        return policy
    with distributed.main_process_first():
        folder = checkpoints.prepare_folder(root, NAME, _checkpoint_key(params, root, policy))
    paths = _Paths(root, policy, folder)
    if not (folder / _DONE).exists():
        clips = rollout_clips(params, root)
        rollouts = sample_all_rollouts(params, root, policy, folder)
        best = [(clip, one.best) for clip, one in zip(clips, rollouts, strict=True) if one.best and one.rewards_differ]
        log(_summary(rollouts, len(best)), 0)
        settings = params.two_turn_grpo.rejection_sampling
        _require_enough(len(best), settings)
        _train(best * settings.num_train_epochs, params, paths, log)
    return paths.adapter


def publish_history(root: Path) -> None:
    """Write the history to `metrics/` (empty if this part is switched off), and remove everything else.

    Call it when the whole stage has finished: DVC removes a stage's outputs when it runs again after an interruption.
    """
    from cac.training.progress import write_history

    folder, out = root / CHECKPOINTS / NAME, root / HISTORIES / f"{NAME}.json"
    if (folder / _HISTORY).is_file():
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / _HISTORY, out)
    else:
        write_history([], out)
    checkpoints.remove(folder)


def rollout_to_dialogue(rollout: Judgement, clip: Clip, store: ClipStore, frames: Frames) -> Dialogue:
    """Return the training dialogue of a rollout that could be parsed: the frames it was shown and its answers.

    Coordinates that no reward has judged, because the clip's anomaly has no boxes, have no labels.
    """
    video = store.video(clip)
    coarse, dense = coarse_view(video, frames), dense_view(video, rollout.scan_windows, frames)
    messages = [
        *scan_prompt(coarse.images, coarse.times),
        verbatim_reply(rollout.scan_text),
        tool_reply(look_content(dense.images, dense.times)),
        verbatim_reply(rollout.look_text),
    ]
    unlabelled = unknown_coordinates(rollout.look_text, clip, dense.indices)
    return Dialogue(messages, has_tool=True, unlabelled=unlabelled)


def _summary(rollouts: Sequence[ClipRollouts], kept: int) -> dict[str, float]:
    """Print and return mean rewards of the rollouts: of all and of each clip's best, in total and of the windows."""
    rewards = [one.look_rewards for one in rollouts if one.look_rewards]
    overlaps = [one.window_rewards for one in rollouts if one.window_rewards]
    summary = {
        "reward": _mean([_mean(group) for group in rewards]),
        "best_reward": _mean([max(group) for group in rewards]),
        "windows": _mean([_mean(group) for group in overlaps]),
        "best_windows": _mean([max(group) for group in overlaps]),
        "kept_clips": float(kept),
    }
    print(
        f"{NAME}  mean window reward {summary['windows']:.3g}, best of a clip {summary['best_windows']:.3g}; mean "
        f"total reward {summary['reward']:.3g}, best {summary['best_reward']:.3g}; {kept} of {len(rollouts)} clips "
        "have rollouts with different rewards",
        flush=True,
    )
    return summary


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


def _require_enough(kept: int, settings: RejectionSampling) -> None:
    if kept < settings.batch_size:
        raise CacError(
            f"only {kept} clips have rollouts with different rewards, fewer than "
            f"two_turn_grpo.rejection_sampling.batch_size {settings.batch_size}. Sample more (clips, scans, looks), "
            "raise the temperature, or skip this part (clips: 0)."
        )


def _train(best: Sequence[tuple[Clip, Judgement]], params: Params, paths: _Paths, log: Log) -> None:
    """Train the policy on rollouts, in their order, and save the adapter and the history."""
    from cac.model.patches.trl_training_passes import speed_up_training_passes
    from cac.training.progress import report_progress, write_history
    from cac.training.sft_trainer import build_trainer

    settings = _optimisation(params, len(best))
    make_deterministic(params.compute)
    base, processor = load_base(params.model)
    identity = base_identity(params.model)
    model = load_adapter(base, paths.policy, identity, params.adapter, trainable=True)
    if not settings.train_vision:
        freeze_vision(model)
        if best_device() == "cpu":  # on a GPU the memory is needed elsewhere
            cache_image_encodings(model, ImageEncodingCache(CACHE_BYTES))
    speed_up_training_passes(model, params.adapter)
    store = ClipStore(paths.root / DATASET)
    dialogues = [partial(rollout_to_dialogue, rollout, clip, store, params.frames) for clip, rollout in best]
    inputs = TrainerInputs(model, processor, paths.folder)
    trainer = build_trainer(NAME, settings, params.compute, inputs, dialogues)
    report_progress(trainer, NAME, _DISPLAYED_METRICS, log)
    checkpoints.train(trainer, paths.folder)
    if distributed.is_main_process():
        save_adapter(trainer.model, paths.adapter, identity)
        write_history(trainer.state.log_history, paths.folder / _HISTORY)
        (paths.folder / _DONE).touch()
    distributed.wait_for_everyone()


def _optimisation(params: Params, count: int) -> SftOptimisation:
    """Return the settings of a supervised trainer over `count` rollouts, in whole batches."""
    settings = params.two_turn_grpo.rejection_sampling
    return SftOptimisation(
        max_steps=count // settings.batch_size,
        batch_size=settings.batch_size,
        gradient_accumulation_steps=1,
        learning_rate=settings.learning_rate,
        warmup_ratio=settings.warmup_ratio,
        train_vision=params.two_turn_grpo.train_vision,
        weight_decay=0.0,
        max_grad_norm=params.two_turn_grpo.max_grad_norm,
        decision_weight=settings.decision_weight,
        dense_token_loss_weight=0.0,
        save_steps=settings.save_steps,
        logging_steps=settings.logging_steps,
    )


def _checkpoint_key(params: Params, root: Path, policy: Path) -> checkpoints.CheckpointKey:
    inputs = [root / DATASET / MANIFEST_NAME, policy]
    return checkpoints.checkpoint_key(params.sections(TWO_TURN_GRPO), inputs, params.model, root, TWO_TURN_GRPO)
