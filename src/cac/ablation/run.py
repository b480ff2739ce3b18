"""Train one variant with one seed and measure it on val; nothing is trained twice.

Adapters are kept under a hash of everything they follow from, so variants share the stages they have in common, and an
interrupted ablation goes on at the stage it was at. The test split is left alone: an ablation is a choice.
"""

import json
import os
from pathlib import Path

from cac.ablation.variants import VARIANTS, variant_params
from cac.errors import CacError
from cac.evaluation.metrics import clip_facts, point_values
from cac.model.calibration import fit_calibration
from cac.model.loading import make_deterministic
from cac.model.reward_model import load_reward_model
from cac.params import Grpo, Params
from cac.paths import DATASET, MODELS, MULTI_FRAME_SFT, SCRATCH, SINGLE_FRAME_SFT, TWO_TURN_GRPO
from cac.schema.annotations import MANIFEST_NAME, read_clips
from cac.schema.judgement import Judgement
from cac.training.checkpoints import checkpoint_key
from cac.training.rewards import total_reward
from cac.video.clip_store import ClipStore

WORK = SCRATCH / "ablation"


def run_variant(params: Params, name: str, seed: int, root: Path, out: Path) -> None:
    """Train what is missing of a variant and write its metrics on val to `out`, as JSON.

    Raises:
        CacError: there is no such variant, or the dataset or the base is missing.
    """
    if name not in VARIANTS:
        raise CacError(f"no variant {name!r}; there are: {', '.join(VARIANTS)}.")
    settings = variant_params(params, name, seed)
    adapter = train_stages(settings, VARIANTS[name].stages, root)
    metrics = _measure(settings, adapter, root, params.two_turn_grpo)
    out.parent.mkdir(parents=True, exist_ok=True)
    result = {"variant": name, "seed": seed, "val": metrics}
    out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def train_stages(params: Params, stages: tuple[str, ...], root: Path) -> Path:
    """Train the stages one after another, each in a folder of its own, and return the last one's adapter."""
    previous: tuple[str, Path] | None = None
    for stage in stages:
        place = root / WORK / _key(params, stage, previous, root)[:16]
        adapter = place / MODELS / stage
        done = place / "done"
        if not done.exists():
            _link(place / DATASET, root / DATASET)
            if previous:
                _link(place / MODELS / previous[0], previous[1])
            _train(stage, params, place, previous[0] if previous else None)
            done.touch()
        previous = (stage, adapter)
    assert previous is not None
    return previous[1]


def _key(params: Params, stage: str, previous: tuple[str, Path] | None, root: Path) -> str:
    inputs = [root / DATASET / MANIFEST_NAME, *([previous[1]] if previous else [])]
    return checkpoint_key(params.sections(stage), inputs)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)


def _train(stage: str, params: Params, place: Path, previous: str | None) -> None:
    from cac.training import multi_frame_sft, single_frame_sft, two_turn_grpo

    if stage == SINGLE_FRAME_SFT:
        single_frame_sft.train(params, place)
    elif stage == MULTI_FRAME_SFT:
        multi_frame_sft.train(params, place, previous)
    elif stage == TWO_TURN_GRPO and previous:
        two_turn_grpo.train(params, place, previous)
    else:
        raise ValueError(f"{stage} cannot be trained after {previous}")


def _measure(params: Params, adapter: Path, root: Path, rewards: Grpo) -> dict[str, float | None]:
    """Judge val with an adapter and return every metric, the sum of rewards as the full method weighs them."""
    make_deterministic(params.compute)
    judge = load_reward_model(adapter, params)
    clips, store = read_clips(root / DATASET, "val"), ClipStore(root / DATASET)
    judgements: list[Judgement] = judge.judge([store.video(clip) for clip in clips], params.evaluation.batch_size)
    calibration = fit_calibration([j.margin for j in judgements], [clip.is_clean for clip in clips])
    scores = [calibration.score(j.margin) for j in judgements]
    totals = [total_reward(j, clip, rewards) for j, clip in zip(judgements, clips, strict=True)]
    return point_values(clip_facts(clips, judgements, scores, params.evaluation.calibration_bins, totals))
