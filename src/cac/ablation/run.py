"""Trains one variant with one seed and evaluates it on val; no stage is trained twice.

Adapters are stored under a hash of everything they depend on, so variants share common stages, and an interrupted
ablation resumes at its last stage. The test split is not used, because ablations inform choices.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cac.ablation.frame_judge import FrameJudge
from cac.ablation.variants import VARIANTS, Variant, variant_params
from cac.errors import CacError
from cac.evaluation.calibrate import calibrate
from cac.evaluation.facts import clip_facts
from cac.evaluation.metrics import point_values
from cac.evaluation.relative import ceiling, relative_to_ceiling
from cac.frames import Frames
from cac.model.loading import make_deterministic
from cac.model.reward_model import load_reward_model
from cac.params import Grpo, Params
from cac.paths import DATASET, MODELS, MULTI_FRAME_SFT, SCRATCH, SINGLE_FRAME_SFT, TWO_TURN_GRPO
from cac.schema.annotations import MANIFEST_NAME, read_clips
from cac.schema.judgement import Judgement
from cac.training.checkpoints import checkpoint_key
from cac.training.rewards import total_reward
from cac.video.clip_store import ClipStore

WORKSPACES = SCRATCH / "ablation"
# What an answer of yes or no can be measured by; all other metrics are of windows, boxes or attribution.
VERDICT_METRICS = (
    *("accuracy", "balanced_accuracy", "precision", "recall", "specificity", "distractor_specificity", "f1"),
    *("auroc", "expected_calibration_error", "twin_accuracy", "parse_rate", "unaided_rate", "mean_frames_seen"),
)


def run_variant(params: Params, name: str, seed: int, root: Path, out: Path) -> None:
    """Train the missing stages of a variant and write its metrics on val, and their ceiling, to `out` as JSON.

    Raises:
        CacError: the variant is unknown, or the dataset or the base is missing.
    """
    if name not in VARIANTS:
        raise CacError(f"no variant {name!r}; there are: {', '.join(VARIANTS)}.")
    settings, variant = variant_params(params, name, seed), VARIANTS[name]
    adapter = train_stages(settings, variant.stages, root)
    judgements = _judge(settings, variant, adapter, root)
    metrics = _metrics(judgements, settings, root, params.two_turn_grpo)
    out.parent.mkdir(parents=True, exist_ok=True)
    highest = ceiling(read_clips(root / DATASET, "val"), _shown(settings.frames, variant))
    relative = relative_to_ceiling(metrics, highest)
    result = {"variant": name, "seed": seed, "val": metrics, "ceiling": highest, "relative_to_ceiling": relative}
    out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Previous:
    """The stage trained before, and its adapter."""

    stage: str
    adapter: Path


def train_stages(params: Params, stages: tuple[str, ...], root: Path) -> Path:
    """Train the stages in order, each in its own workspace, and return the adapter of the last."""
    previous: _Previous | None = None
    for stage in stages:
        workspace = root / WORKSPACES / _key(params, stage, previous, root)[:16]
        adapter = workspace / MODELS / stage
        done = workspace / "done"
        if not done.exists():
            _link(workspace / DATASET, root / DATASET)
            if previous:
                _link(workspace / MODELS / previous.stage, previous.adapter)
            _train(stage, params, workspace, previous.stage if previous else None)
            done.touch()
        previous = _Previous(stage, adapter)
    assert previous is not None
    return previous.adapter


def _key(params: Params, stage: str, previous: _Previous | None, root: Path) -> str:
    inputs = [root / DATASET / MANIFEST_NAME, *([previous.adapter] if previous else [])]
    return checkpoint_key(params.sections(stage), inputs, params.model, root, stage).digest


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)


def _train(stage: str, params: Params, workspace: Path, previous: str | None) -> None:
    from cac.training import multi_frame_sft, single_frame_sft, two_turn_grpo

    if stage == SINGLE_FRAME_SFT:
        single_frame_sft.train(params, workspace)
    elif stage == MULTI_FRAME_SFT:
        multi_frame_sft.train(params, workspace, previous)
    elif stage == TWO_TURN_GRPO and previous:
        two_turn_grpo.train(params, workspace, previous)
    else:
        raise ValueError(f"{stage} cannot be trained after {previous}")


def _shown(frames: Frames, variant: Variant) -> Frames:
    """Return which frames a variant is shown: the frame judge sees those of one look."""
    return frames.model_copy(update={"looks": 1}) if variant.frame_by_frame else frames


def _judge(params: Params, variant: Variant, adapter: Path, root: Path) -> list[Judgement]:
    """Judge val with an adapter."""
    make_deterministic(params.compute)
    model = load_reward_model(adapter, params)
    judge = FrameJudge(model) if variant.frame_by_frame else model
    store = ClipStore(root / DATASET)
    videos = [store.video(clip) for clip in read_clips(root / DATASET, "val")]
    return judge.judge(videos, params.evaluation.batch_size)


def _metrics(judgements: Sequence[Judgement], params: Params, root: Path, rewards: Grpo) -> dict[str, float | None]:
    """Return every metric of judgements of val, with verdicts by the score and the weights of the full method's reward.

    An answer of yes or no leaves all but the verdict undefined.
    """
    clips = read_clips(root / DATASET, "val")
    calibration = calibrate(judgements, clips, params.frames)
    decided = [calibration.decide(one) for one in judgements]
    totals = [total_reward(one, clip, rewards) for one, clip in zip(judgements, clips, strict=True)]
    scores = [calibration.probability(one) for one in judgements]
    values = point_values(clip_facts(clips, decided, scores, params.evaluation.calibration_bins, totals))
    asked = VERDICT_METRICS if params.frames.looks == 0 else tuple(values)
    return {name: value if name in asked else None for name, value in values.items()}
