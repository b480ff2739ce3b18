"""Compare checkpoints on a larger validation set than the sample's, to choose settings.

    python -m benchmarks.choosing models/multi_frame_sft ../other/models/multi_frame_sft --scenes 500

The sample's val split has about a hundred pairs, so only differences of 0.04 in balanced accuracy are visible. This
benchmark renders clips of other scenes (another seed, the same settings; never a clip of the sample), judges them as
`evaluate` does, and compares every checkpoint with the first on the same clips. Clips and judgements are cached in
`.scratch/choosing`. It uses no test split, and covers procedural clips only.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from cac.data.sample.build import build_dataset
from cac.errors import CacError
from cac.evaluation.facts import Facts, clip_facts
from cac.evaluation.intervals import Interval, evaluate_facts, paired_difference
from cac.io.parallel import parallel_map
from cac.model.adapters import require_adapter
from cac.model.calibration import fit_calibration
from cac.model.loading import make_deterministic
from cac.model.patches.transformers_vision_cache import cache_image_encodings
from cac.model.reward_model import load_reward_model
from cac.params import Grpo, Params, load_params
from cac.paths import SCRATCH
from cac.schema.annotations import CARD_NAME, MANIFEST_NAME, read_clips
from cac.schema.judgement import Judgement
from cac.training.checkpoints import checkpoint_key
from cac.training.rewards import total_reward
from cac.video.clip_store import ClipStore

SEED = 20261129
CLIPS_AT_ONCE = 96
SAMPLES = 1000
SHOWN = {
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "twin_accuracy": "twins",
    "specificity": "specificity",
    "temporal_iou": "temporal IoU",
    "spatial_iou": "spatial IoU",
    "family_accuracy": "family",
    "reward": "reward",
}


def main() -> int:
    """Judge with each checkpoint; print its metrics and the differences to the first."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.choosing", description="Compare checkpoints.")
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="FOLDER", help="adapters")
    parser.add_argument("--scenes", type=int, default=500, metavar="N", help="pairs of clips (default: 500)")
    args = parser.parse_args()
    params = load_params(Path("params.yaml"))
    try:
        for folder in args.checkpoints:
            require_adapter(folder)
    except CacError as error:
        parser.error(str(error))
    dataset = other_clips(params, args.scenes)
    facts = [judged_facts(dataset, folder, params, params.two_turn_grpo) for folder in args.checkpoints]
    for folder, own in zip(args.checkpoints, facts, strict=True):
        print_table(str(folder), evaluate_facts(own, SAMPLES, SEED), sign="")
        if own is not facts[0]:
            print_table("  minus the first", paired_difference(own, facts[0], SAMPLES, SEED), sign="+")
    return 0


def other_clips(params: Params, scenes: int) -> Path:
    """Return a dataset with this many pairs of other scenes, rendered if it does not exist."""
    others = dict.fromkeys(("shifted_pairs", "hard_train_pairs", "hard_test_pairs"), 0)
    data = params.procedural_data.model_copy(update={"pairs": scenes, **others})
    compute = params.compute.model_copy(update={"seed": SEED})
    settings = {"compute": compute.model_dump(), "procedural_data": data.model_dump()}
    dataset = SCRATCH / "choosing" / _key(settings, [], params) / "data"
    if not (dataset / CARD_NAME).is_file():
        dataset.parent.mkdir(parents=True, exist_ok=True)
        build_dataset(dataset, params.model_copy(update={"procedural_data": data, "compute": compute}))
    return dataset


def _key(settings: dict[str, object], inputs: list[Path], params: Params) -> str:
    return checkpoint_key(settings, inputs, params.model, Path(), "benchmark").digest[:16]


def judged_facts(dataset: Path, adapter: Path, params: Params, rewards: Grpo) -> Facts:
    """Judge a dataset with an adapter and return the facts that metrics are computed from.

    Scores are calibrated on the same clips, which preserves their order.
    """
    clips, judgements = read_clips(dataset), _judge(dataset, adapter, params)
    calibration = fit_calibration([one.margin for one in judgements], [clip.is_clean for clip in clips])
    totals = [total_reward(one, clip, rewards) for one, clip in zip(judgements, clips, strict=True)]
    scores = [calibration.score(one.margin) for one in judgements]
    return clip_facts(clips, judgements, scores, params.evaluation.calibration_bins, totals)


def _judge(dataset: Path, adapter: Path, params: Params) -> list[Judgement]:
    sections = {name: getattr(params, name).model_dump() for name in ("frames", "model", "evaluation")}
    out = dataset.parent / f"{_key(sections, [dataset / MANIFEST_NAME, adapter], params)}.json"
    if not out.is_file():
        count = len(read_clips(dataset))
        work = partial(_judge_part, dataset, adapter, params)
        parts = parallel_map(work, range(0, count, CLIPS_AT_ONCE), processes=params.compute.threads, chunk_size=1)
        partial_out = out.with_suffix(".partial")
        partial_out.write_text(json.dumps([row for part in parts for row in part]), encoding="utf-8")
        partial_out.rename(out)
    return [Judgement.from_dict(row) for row in json.loads(out.read_text(encoding="utf-8"))]


def _judge_part(dataset: Path, adapter: Path, params: Params, start: int) -> list[dict[str, object]]:
    """Judge one batch of clips, starting at `start`, in a worker process."""
    make_deterministic(params.compute.model_copy(update={"threads": 1}))
    judge = load_reward_model(adapter, params)
    cache_image_encodings(judge.model.requires_grad_(False))
    clips, store = read_clips(dataset)[start : start + CLIPS_AT_ONCE], ClipStore(dataset)
    judged = judge.judge([store.video(clip) for clip in clips], params.evaluation.batch_size)
    print(f"{adapter}  {start + len(clips)} clips", file=sys.stderr, flush=True)
    return [judgement.to_dict() for judgement in judged]


def print_table(name: str, metrics: dict[str, Interval], *, sign: str) -> None:
    """Print the metrics of one checkpoint, or of a difference, with their intervals."""
    print(name)
    for metric, label in SHOWN.items():
        value, low, high = (f"{metrics[metric][part]:{sign}.3f}" for part in ("value", "low", "high"))
        print(f"    {label:18} {value:>6}  [{low}, {high}]")


if __name__ == "__main__":
    sys.exit(main())
