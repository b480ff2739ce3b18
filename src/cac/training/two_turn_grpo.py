"""Stage 3: reinforcement learning on the whole two-turn dialogue with TRL's `GRPOTrainer`.

Each rollout scans, calls `concentrate`, sees the dense frames and gives its verdict; `rewards.py` has the rewards. The
stage starts from the adapter of stage 2 and first trains it on its own best rollouts (`rejection_sampling.py`).
Rollouts are grammar-constrained, or free generation by Transformers. Out of scope: vLLM.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.errors import CacError
from cac.frames import Frames
from cac.io import distributed
from cac.model.adapters import forbidden_token_ids, freeze_vision, load_adapter, save_adapter
from cac.model.loading import base_identity, load_base, make_deterministic
from cac.model.patches.transformers_vision_cache import cache_image_encodings
from cac.params import Params
from cac.paths import DATASET, HISTORIES, MODELS, MULTI_FRAME_SFT, TWO_TURN_GRPO
from cac.schema.annotations import MANIFEST_NAME, Clip, read_clips
from cac.schema.dialogue import look_content, tool_reply
from cac.schema.judgement import Judgement
from cac.training import checkpoints
from cac.training.grpo import rejection_sampling
from cac.training.grpo.advantages import turn_weights
from cac.training.grpo.constrained_rollouts import constrain_generation
from cac.training.grpo.environment import environment_factory, judge_rollouts
from cac.training.rewards import Reward, reward_functions
from cac.training.train_partition import grpo_clips
from cac.training.trainer_arguments import TrainerInputs, trainer_arguments
from cac.video.clip_store import ClipStore
from cac.video.segments import clip_segments

if TYPE_CHECKING:
    from cac.training.grpo.trainer import TwoTurnGRPOTrainer

DISPLAYED_METRICS = ("reward", "rewards/accuracy/mean", "rewards/temporal_iou/mean", "rewards/spatial_iou/mean")
SAMPLED_ROLLOUTS = 4  # logged as text


def train(params: Params, root: Path, previous: str = MULTI_FRAME_SFT) -> None:
    """Train and write `models/two_turn_grpo` and `metrics/two_turn_grpo.json`; resumes like the supervised stages.

    Ablations pass another previous stage.

    Raises:
        CacError: the dataset, the base or the adapter of stage 2 is missing or does not fit.
    """
    from cac.tracking.mlflow_runs import shared_run
    from cac.training.progress import report_progress, write_history

    if params.frames.looks != 2:
        raise CacError(
            f"two_turn_grpo trains the two-turn dialogue, but frames.looks is {params.frames.looks}. "
            "Set it to 2, or skip the stage."
        )
    if distributed.is_model_sharded():
        raise CacError(
            f"{TWO_TURN_GRPO} needs the whole model in every process, because the processes generate independently. "
            "Set compute.accelerate to conf/accelerate/ddp.yaml."
        )
    with shared_run(TWO_TURN_GRPO, params) as run:
        start = rejection_sampling.train_on_best_rollouts(
            params, root, root / MODELS / previous, partial(_log_rejection_sampling, run)
        )
        model, processor = load_policy(params, start)
        with distributed.main_process_first():
            folder = checkpoints.prepare_folder(root, TWO_TURN_GRPO, _checkpoint_key(params, root, previous))
        trainer = build_trainer(params, root, TrainerInputs(model, processor, folder))
        report_progress(trainer, TWO_TURN_GRPO, DISPLAYED_METRICS, run.log_metrics)
        checkpoints.train(trainer, folder)
        run.log_text("\n\n".join(trainer.rollout_samples), "sample_rollouts.txt")
    if distributed.is_main_process():
        save_adapter(trainer.model, root / MODELS / TWO_TURN_GRPO, base_identity(params.model))
        write_history(trainer.state.log_history, root / HISTORIES / f"{TWO_TURN_GRPO}.json")
        checkpoints.remove(folder)
        rejection_sampling.publish_history(root)
    distributed.wait_for_everyone()


def _log_rejection_sampling(run: Any, metrics: Mapping[str, float], step: int) -> None:
    run.log_metrics({f"{rejection_sampling.NAME}/{name}": value for name, value in metrics.items()}, step)


def load_policy(params: Params, adapter: Path) -> tuple[Any, Any]:
    """Seed everything; return the model with a trainable adapter, and its processor.

    Raises:
        CacError: the base or the adapter is missing or does not fit.
    """
    from cac.model.patches.transformers_kv_cache import use_preallocated_cache
    from cac.model.patches.trl_training_passes import speed_up_training_passes

    make_deterministic(params.compute)
    base, processor = load_base(params.model)
    model = load_adapter(base, adapter, base_identity(params.model), params.adapter, trainable=True)
    if not params.two_turn_grpo.train_vision:
        freeze_vision(model)
        cache_image_encodings(model)
    speed_up_training_passes(model, params.adapter)
    if params.two_turn_grpo.constrained_decoding:
        constrain_generation(model, processor, params.two_turn_grpo)
    else:
        use_preallocated_cache(model)
    return model, processor


def _checkpoint_key(params: Params, root: Path, previous: str) -> checkpoints.CheckpointKey:
    inputs = [root / DATASET / MANIFEST_NAME, root / MODELS / previous]
    return checkpoints.checkpoint_key(params.sections(TWO_TURN_GRPO), inputs, params.model, root, TWO_TURN_GRPO)


def build_trainer(
    params: Params, root: Path, inputs: TrainerInputs, trainer_class: "type[TwoTurnGRPOTrainer] | None" = None
) -> "TwoTurnGRPOTrainer":
    """Build the trainer over the training clips.

    Args:
        params: the settings.
        root: the project.
        inputs: the model, its processor and the checkpoint folder.
        trainer_class: a subclass of `TwoTurnGRPOTrainer` to build instead.
    """
    os.environ.setdefault(
        "TRL_EXPERIMENTAL_SILENCE", "1"
    )  # `environment_factory` is experimental; TRL's version is pinned
    from datasets import Dataset
    from trl import GRPOConfig

    from cac.training.grpo.policy_check import PolicyCheck
    from cac.training.grpo.trainer import TwoTurnGRPOTrainer

    settings = params.two_turn_grpo
    whole = grpo_clips(read_clips(root / DATASET, "train"), params.train_partition)
    clips = [segment for clip in whole for segment in clip_segments(clip, params.frames)]
    rollouts = settings.prompts_per_step * settings.num_generations
    rewards = reward_functions(settings)
    weights = settings.reward_weights.model_dump()
    samples: list[str] = []
    config = GRPOConfig(
        gradient_accumulation_steps=rollouts // settings.batch_size,
        num_generations=settings.num_generations,
        temperature=settings.temperature,
        beta=settings.beta,
        scale_rewards=settings.scale_rewards,
        reward_weights=[weights[name] for name in rewards],
        max_completion_length=settings.max_turn_tokens + max_tool_response_tokens(inputs.processor, params.frames),
        max_tool_calling_iterations=1,
        generation_kwargs={"suppress_tokens": forbidden_token_ids(inputs.processor.tokenizer)},
        **trainer_arguments(TWO_TURN_GRPO, settings, params.compute, inputs.checkpoint_folder),
    )
    trainer = (trainer_class or TwoTurnGRPOTrainer)(
        model=inputs.model,
        args=config,
        train_dataset=Dataset.from_dict({"clip": list(range(len(clips)))}),
        reward_funcs=[_trl_reward(name, reward, clips, samples) for name, reward in rewards.items()],
        environment_factory=environment_factory(clips, ClipStore(root / DATASET), params.frames),
        processing_class=inputs.processor,
    )
    trainer.rollout_samples = samples
    trainer.add_callback(PolicyCheck())
    if settings.advantages == "turn":
        trainer.turn_weights = turn_weights(list(rewards), weights, settings.scan_verdict_ratio)
        trainer.look_credit = settings.look_credit
    return trainer


def max_tool_response_tokens(processor: Any, frames: Frames) -> int:
    """Return the maximum length of the tool's response in tokens.

    Square frames have the largest area; stamps of an hour with three decimals are the longest.
    """
    from PIL import Image

    images = [Image.new("RGB", (frames.dense_size, frames.dense_size)) for _ in range(frames.dense_count)]
    message = tool_reply(look_content(images, [3600 + i / 1000 for i in range(len(images))]))
    ids = processor.apply_chat_template([message], add_generation_prompt=True, tokenize=True, return_dict=True)
    return len(ids["input_ids"][0])


def _trl_reward(
    name: str, reward: Reward, clips: Sequence[Clip], samples: list[str]
) -> Callable[..., list[float | None]]:
    """Wrap a reward of (judgement, clip) in TRL's signature; the accuracy also logs the monitors and text samples."""

    def batch_reward(
        completions: list[Any],
        environments: list[Any],
        clip: list[int],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float | None]:
        judgements = judge_rollouts(environments, completions)
        truths = [clips[index] for index in clip]
        if name == "accuracy":
            for key, value in monitors(judgements, truths).items():
                log_metric(key, value)
            samples[:] = [f"{t.clip_id}\n{j.scan_text}\n{j.look_text}" for j, t in zip(judgements, truths, strict=True)]
            del samples[SAMPLED_ROLLOUTS:]
        return [reward(judgement, truth) for judgement, truth in zip(judgements, truths, strict=True)]

    batch_reward.__name__ = name
    return batch_reward


def monitors(judgements: Sequence[Judgement], clips: Sequence[Clip]) -> dict[str, float]:
    """Return indicators of reward hacking over a batch of rollouts, each in [0, 1] except boxes per frame."""
    pairs = list(zip(judgements, clips, strict=True))
    clean = [judgement for judgement, clip in pairs if clip.is_clean]
    anomalous = [judgement for judgement, clip in pairs if not clip.is_clean]
    boxes = [finding.box for judgement in judgements for finding in judgement.findings if finding.box]
    frames = sum(len(judgement.findings) for judgement in judgements)
    shares = [sum(end - start for start, end in j.windows) / clip.duration for j, clip in pairs if j.windows]
    values = {
        "monitor/parse_rate": _mean([float(judgement.parsed) for judgement in judgements]),
        "monitor/specificity": _mean([float(judgement.verdict == "clean") for judgement in clean]),
        "monitor/recall": _mean([float(judgement.verdict == "anomalous") for judgement in anomalous]),
        "monitor/abstain_rate": _mean([float(not judgement.windows) for judgement in anomalous]),
        "monitor/window_share": _mean(shares),
        "monitor/box_area": _mean([(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]),
        "monitor/boxes_per_frame": len(boxes) / frames if frames else None,
    }
    return {key: value for key, value in values.items() if value is not None}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
