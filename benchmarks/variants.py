"""Compare two ablation variants over seeds on a larger validation set than the sample's.

    python -m benchmarks.variants without_stage_3 one_look --seeds 7 8 9

`make ablate` evaluates its variants on the sample's val split, which is too small to distinguish two of them. Here its
adapters judge the clips of `benchmarks.choosing`; missing ones are trained, which takes minutes each. It prints the
first variant minus the second: with the interval over clips for each seed, and with Student's t over seeds.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.choosing import SAMPLES, SEED, SHOWN, judged_facts, other_clips, print_table
from cac.ablation.run import train_stages
from cac.ablation.table import estimate
from cac.ablation.variants import VARIANTS, variant_params
from cac.errors import CacError
from cac.evaluation.facts import Facts
from cac.evaluation.intervals import Interval, paired_difference
from cac.params import Params, load_params


def main() -> int:
    """Judge with both variants of every seed and print the differences."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.variants", description="Compare two variants.")
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("against", choices=VARIANTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9], metavar="N", help="(default: 7 8 9)")
    parser.add_argument("--scenes", type=int, default=500, metavar="N", help="pairs of clips (default: 500)")
    args = parser.parse_args()
    try:
        _compare(args.variant, args.against, args.seeds, args.scenes)
    except CacError as error:
        parser.error(str(error))
    return 0


def _compare(variant: str, against: str, seeds: list[int], scenes: int) -> None:
    params = load_params(Path("params.yaml"))
    dataset = other_clips(params, scenes)
    differences = []
    for seed in seeds:
        first, second = (_facts(dataset, params, name, seed) for name in (variant, against))
        differences.append(paired_difference(first, second, SAMPLES, SEED))
        print_table(f"{variant} minus {against}, seed {seed}", differences[-1], sign="+")
    _print_mean(differences)


def _facts(dataset: Path, params: Params, name: str, seed: int) -> Facts:
    """Judge with the settings of the variant; the total reward has the weights of the full method."""
    settings, variant = variant_params(params, name, seed), VARIANTS[name]
    adapter = train_stages(settings, variant.stages, Path.cwd())
    return judged_facts(dataset, adapter, settings, params.two_turn_grpo, frame_by_frame=variant.frame_by_frame)


def _print_mean(differences: list[dict[str, Interval]]) -> None:
    print(f"mean of {len(differences)} seeds, ± Student's t")
    for metric, label in SHOWN.items():
        values = [one[metric]["value"] for one in differences]
        print(f"    {label:18} {estimate([value for value in values if value is not None])}")


if __name__ == "__main__":
    sys.exit(main())
