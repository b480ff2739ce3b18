"""The first part of stage 3: of each clip's rollouts the best is learned from, as supervision learns from annotations.

The policy draws scans and looks of every clip (`rollouts.py`) and the rewards choose: rejection sampling, as in RAFT
(Dong et al. 2023, arXiv 2304.06767), turn by turn. A clip whose answers all earn the same tells nothing and is left
out. Only the rewards see the annotation: what is learned are the policy's own words, about the frames that its own scan
asked for. Left out: learning from the other rollouts, which is GRPO's part (`two_turn_grpo.py`).
"""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.io import distributed
from cac.io.distributed import best_device
from cac.model.adapters import freeze_vision, load_adapter, save_adapter
from cac.model.loading import base_identity, load_base, make_deterministic
from cac.model.patches.transformers_vision_cache import ImageEncodingCache, cache_image_encodings
from cac.params import Frames, Params, RejectionSampling, SftOptimisation
from cac.paths import DATASET, HISTORIES, TWO_TURN_GRPO
from cac.schema.annotations import MANIFEST_NAME, Clip
from cac.schema.dialogue import as_written, look_content, scan_prompt, tool_reply
from cac.schema.judgement import Judgement
from cac.training import checkpoints
from cac.training.collator import Dialogue
from cac.training.dialogue_trainer import make_trainer
from cac.training.rollouts import Drawn, rollout_clips, sample_all_rollouts
from cac.video.clip_store import ClipStore
from cac.video.views import coarse_view, dense_view

NAME = "rejection_sampling"
MEMORY = 2**30  # bytes of images' encodings that are kept: those of a thousand clips of the sample
_SHOWN_METRICS = ("loss", "mean_token_accuracy", "learning_rate")
_DONE, _HISTORY = "done", "history.json"

Log = Callable[[dict[str, float], int], None]


def improve(params: Params, root: Path, policy: Path, log: Log) -> Path:
    """Train the policy on its own best rollouts and return the adapter to go on from; resumes like the stages.

    Args:
        params: the settings, of which `two_turn_grpo.rejection_sampling` says how.
        root: the project.
        policy: the adapter to begin with, which is returned where this part is left out.
        log: takes metrics and the step they are of.

    Raises:
        CacError: the dataset, the base or the adapter is missing or does not fit, or no rollout is worth learning from.
    """
    if not params.two_turn_grpo.rejection_sampling.clips:
        return policy
    with distributed.main_process_first():
        folder = checkpoints.prepare_folder(root, NAME, _checkpoint_key(params, root, policy))
    adapter = folder / "adapter"
    if not (folder / _DONE).exists():
        clips = rollout_clips(params, root)
        found = sample_all_rollouts(params, root, policy, folder)
        best = [(clip, one.best) for clip, one in zip(clips, found, strict=True) if one.best and one.tells]
        log(_summary(found, len(best)), 0)
        own = params.two_turn_grpo.rejection_sampling
        _require_enough(len(best), own)
        _learn(best * own.num_train_epochs, params, root, (policy, folder, adapter), log)
    return adapter


def finish(root: Path) -> None:
    """Write the history to `metrics/` (without an entry, if this part was left out), and remove everything else.

    Not before the whole stage has finished: DVC removes a stage's outputs when it is run again after an interruption.
    """
    from cac.training.progress import write_history

    folder, out = root / checkpoints.CHECKPOINTS / NAME, root / HISTORIES / f"{NAME}.json"
    if (folder / _HISTORY).is_file():
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / _HISTORY, out)
    else:
        write_history([], out)
    checkpoints.remove(folder)


def rollout_to_dialogue(rollout: Judgement, clip: Clip, store: ClipStore, frames: Frames) -> Dialogue:
    """Return a rollout that can be read as a dialogue to learn from: what it was shown and what it answered."""
    video = store.video(clip)
    coarse, dense = coarse_view(video, frames), dense_view(video, rollout.windows, frames)
    messages = [
        *scan_prompt(coarse.images, coarse.times),
        as_written(rollout.scan_text),
        tool_reply(look_content(dense.images, dense.times)),
        as_written(rollout.look_text),
    ]
    return Dialogue(messages, has_tool=True)


def _summary(found: Sequence[Drawn], kept: int) -> dict[str, float]:
    """Print and return what the rollouts earned: each reward, and the best of each clip; windows on anomalous clips."""
    rewards, overlaps = [one.rewards for one in found if one.rewards], [one.overlaps for one in found if one.overlaps]
    told = {
        "reward": _mean([_mean(group) for group in rewards]),
        "best_reward": _mean([max(group) for group in rewards]),
        "windows": _mean([_mean(group) for group in overlaps]),
        "best_windows": _mean([max(group) for group in overlaps]),
        "kept_clips": float(kept),
    }
    print(
        f"{NAME}  windows earn {told['windows']:.3g}, the best of a clip {told['best_windows']:.3g}; looks after those "
        f"{told['reward']:.3g} in all, the best {told['best_reward']:.3g}; {kept} of {len(found)} clips tell something",
        flush=True,
    )
    return told


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


def _require_enough(kept: int, settings: RejectionSampling) -> None:
    if kept < settings.batch_size:
        raise CacError(
            f"only {kept} clips have rollouts that differ in reward, fewer than "
            f"two_turn_grpo.rejection_sampling.batch_size {settings.batch_size}. Draw more (clips, scans, looks), at a higher temperature, or none (clips: 0)."
        )


def _learn(
    best: Sequence[tuple[Clip, Judgement]],
    params: Params,
    root: Path,
    places: tuple[Path, Path, Path],
    log: Log,
) -> None:
    """Train the policy on the rollouts and save it."""
    from cac.model.patches.trl_training_passes import speed_up_training_passes
    from cac.training.progress import report_progress, write_history

    policy, folder, adapter = places
    settings = _optimisation(params, len(best))
    make_deterministic(params.compute)
    base, processor = load_base(params.model)
    identity = base_identity(params.model)
    model = load_adapter(base, policy, identity, trainable=True)
    if not settings.train_vision:
        freeze_vision(model)
        if best_device() == "cpu":  # a GPU has other uses for its memory
            cache_image_encodings(model, ImageEncodingCache(MEMORY))
    speed_up_training_passes(model, params.adapter)
    store = ClipStore(root / DATASET)
    dialogues = [partial(rollout_to_dialogue, rollout, clip, store, params.frames) for clip, rollout in best]
    trainer: Any = make_trainer(NAME, settings, params, (model, processor, folder), dialogues)
    report_progress(trainer, NAME, _SHOWN_METRICS, log)
    trainer.train(resume_from_checkpoint=checkpoints.last_checkpoint(folder))
    if distributed.is_main_process():
        save_adapter(trainer.model, adapter, identity)
        write_history(trainer.state.log_history, folder / _HISTORY)
        (folder / _DONE).touch()
    distributed.wait_for_everyone()


def _optimisation(params: Params, count: int) -> SftOptimisation:
    """Return the settings of a supervised trainer that goes through `count` rollouts, in whole batches."""
    own = params.two_turn_grpo.rejection_sampling
    return SftOptimisation(
        max_steps=count // own.batch_size,
        batch_size=own.batch_size,
        gradient_accumulation_steps=1,
        learning_rate=own.learning_rate,
        warmup_ratio=own.warmup_ratio,
        train_vision=params.two_turn_grpo.train_vision,
        weight_decay=0.0,
        max_grad_norm=params.two_turn_grpo.max_grad_norm,
        decision_weight=own.decision_weight,
        dense_token_loss_weight=0.0,
        save_steps=own.save_steps,
        logging_steps=own.logging_steps,
    )


def _checkpoint_key(params: Params, root: Path, policy: Path) -> str:
    return checkpoints.checkpoint_key(params.sections(TWO_TURN_GRPO), [root / DATASET / MANIFEST_NAME, policy])
