"""Confirm the README's claims on clips that no choice has ever seen.

    python -m benchmarks.confirmation --stage-2 models/multi_frame_sft --stage-3 models/two_turn_grpo [ADAPTER ...]

Settings were chosen on val and on the clips of `benchmarks.choosing`, so figures on those flatter the chosen settings.
The clips here have a seed of their own, written down before they were first rendered. Use them to report what has been
decided, never to decide. Scores are calibrated as in the project's `evaluation/calibration.json`, which val gave.

Prints Markdown: for each part (standard, shifted, hard) the metrics of every checkpoint with their 95 % intervals, the
differences of stage 3 and stage 2 on the same clips, and, with several seeds of stage 3, Student's t over seeds. IoUs
are also given as shares of what perfect answers reach with the same frames.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.other_clips import cell, judge, render
from cac.ablation.table import estimate
from cac.errors import CacError
from cac.evaluation.ceiling import PERFECT_ANSWERS, perfect_judgements
from cac.evaluation.facts import Facts, clip_facts
from cac.evaluation.intervals import evaluate_facts, paired_difference
from cac.evaluation.metrics import point_values
from cac.evaluation.relative import relative_to_ceiling
from cac.model.adapter_files import require_adapter
from cac.model.calibration import Calibration
from cac.params import Params, load_params
from cac.paths import EVALUATION, MULTI_FRAME_SFT, TWO_TURN_GRPO
from cac.schema.annotations import Clip, Split, read_clips
from cac.schema.judgement import Judgement
from cac.training.rewards import total_reward

SEED = 20261201  # written down on 1 December 2026, before the first use
PAIRS = {"pairs": 300, "shifted_pairs": 250, "hard_test_pairs": 160}
PARTS = ("standard", "shifted", "hard")
METRICS = (
    "balanced_accuracy",
    "auroc",
    "clean_window_rate",
    "temporal_iou",
    "spatial_iou",
    "joint_accuracy",
    "family_accuracy",
    "reward",
)

AllFacts = dict[str, dict[str, Facts]]  # part -> row -> facts


def main() -> int:
    """Judge the confirmation set with each checkpoint and print the tables."""
    args = _parser().parse_args()
    params = load_params(Path("params.yaml"))
    dataset = render(params, "confirmation", SEED, PAIRS)
    clips = read_clips(dataset)
    facts: AllFacts = {part: {} for part in PARTS}
    try:
        calibrations = _calibrations()
        for stage, adapters in ((MULTI_FRAME_SFT, [args.stage_2]), (TWO_TURN_GRPO, args.stage_3)):
            for adapter in adapters:
                require_adapter(adapter)
                _add(facts, str(adapter), clips, judge(dataset, adapter, params), calibrations[stage], params)
    except CacError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _add(facts, PERFECT_ANSWERS, clips, perfect_judgements(clips, params.frames), Calibration(), params)
    for part, rows in facts.items():
        _print_part(part, rows, str(args.stage_2), [str(adapter) for adapter in args.stage_3], params)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.confirmation", description="Confirm claims.")
    parser.add_argument("--stage-2", type=Path, required=True, metavar="FOLDER", help="the adapter of multi_frame_sft")
    parser.add_argument(
        "--stage-3", type=Path, nargs="+", required=True, metavar="FOLDER", help="adapters of two_turn_grpo, one a seed"
    )
    return parser


def part_of(clip: Clip) -> str:
    """Return the part of the confirmation set that a clip belongs to."""
    parts: dict[Split, str] = {"test_shifted": "shifted", "test_hard": "hard"}
    return parts.get(clip.split, "standard")


def _calibrations() -> dict[str, Calibration]:
    """Read the calibration of each stage, which `cac evaluate` fitted on val."""
    path = EVALUATION / "calibration.json"
    if not path.is_file():
        raise CacError(f"no {path}. Evaluate the project first: `dvc repro evaluate`.")
    return {stage: Calibration(**row) for stage, row in json.loads(path.read_text(encoding="utf-8")).items()}


def _add(
    facts: AllFacts, row: str, clips: list[Clip], judged: list[Judgement], calibration: Calibration, params: Params
) -> None:
    for part in PARTS:
        chosen = [(clip, one) for clip, one in zip(clips, judged, strict=True) if part_of(clip) == part]
        facts[part][row] = clip_facts(
            [clip for clip, _ in chosen],
            [one for _, one in chosen],
            [calibration.score(one.margin) for _, one in chosen],
            params.evaluation.calibration_bins,
            [total_reward(one, clip, params.two_turn_grpo) for clip, one in chosen],
        )


def _print_part(part: str, rows: dict[str, Facts], stage_2: str, stage_3: list[str], params: Params) -> None:
    samples = params.evaluation.bootstrap_samples
    print(f"\n## {part}: {len(rows[stage_2].pair)} clips\n\n| | {' | '.join(METRICS)} |")
    print(f"| --- |{' --- |' * len(METRICS)}")
    for name, own in rows.items():
        measured = evaluate_facts(own, samples, SEED)
        print(f"| {name} | {' | '.join(cell(measured[metric]) for metric in METRICS)} |")
    highest = point_values(rows[PERFECT_ANSWERS])
    for name in (stage_2, *stage_3):
        shares = relative_to_ceiling(point_values(rows[name]), highest)
        known = {metric: f"{share:.3f}" for metric, share in shares.items() if share is not None}
        print(f"| {name} / perfect answers | {' | '.join(known.get(metric, '–') for metric in METRICS)} |")
    differences = [paired_difference(rows[name], rows[stage_2], samples, SEED) for name in stage_3]
    for name, difference in zip(stage_3, differences, strict=True):
        print(f"| {name} minus stage 2 | {' | '.join(cell(difference[metric], sign='+') for metric in METRICS)} |")
    if len(stage_3) > 1:
        means = [estimate([one[metric]["value"] or 0.0 for one in differences]) for metric in METRICS]
        print(f"| mean of {len(stage_3)} seeds minus stage 2 | {' | '.join(map(str, means))} |")


if __name__ == "__main__":
    sys.exit(main())
