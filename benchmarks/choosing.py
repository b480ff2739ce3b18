"""Compare checkpoints on a larger validation set than the sample's, to choose settings.

    python -m benchmarks.choosing models/multi_frame_sft ../other/models/multi_frame_sft --scenes 500

The sample's val split has about a hundred pairs, so only differences of 0.04 in balanced accuracy are visible. This
benchmark renders clips of other scenes (another seed, the same settings; never a clip of the sample), judges them as
`evaluate` does, and compares every checkpoint with the first on the same clips. Clips and judgements are cached in
`.scratch/choosing`. It uses no test split, and covers procedural clips only.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.other_clips import cell, judge, render
from cac.errors import CacError
from cac.evaluation.calibrate import calibrate
from cac.evaluation.facts import Facts, clip_facts
from cac.evaluation.intervals import Interval, evaluate_facts, paired_difference
from cac.model.adapter_files import require_adapter
from cac.params import Grpo, Params, load_params
from cac.schema.annotations import read_clips
from cac.training.rewards import total_reward

SEED = 20261129
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
    return render(params, "choosing", SEED, {"pairs": scenes})


def judged_facts(dataset: Path, adapter: Path, params: Params, rewards: Grpo, *, frame_by_frame: bool = False) -> Facts:
    """Judge a dataset with an adapter and return the facts that metrics are computed from.

    Scores are calibrated on the same clips, which preserves their order.
    """
    clips, judgements = read_clips(dataset), judge(dataset, adapter, params, frame_by_frame=frame_by_frame)
    calibration = calibrate(judgements, clips, params.frames)
    totals = [total_reward(one, clip, rewards) for one, clip in zip(judgements, clips, strict=True)]
    scores = [calibration.probability(one) for one in judgements]
    return clip_facts(clips, judgements, scores, params.evaluation.calibration_bins, totals)


def print_table(name: str, metrics: dict[str, Interval], *, sign: str) -> None:
    """Print the metrics of one checkpoint, or of a difference, with their intervals."""
    print(name)
    for metric, label in SHOWN.items():
        print(f"    {label:18} {cell(metrics[metric], sign=sign)}")


if __name__ == "__main__":
    sys.exit(main())
