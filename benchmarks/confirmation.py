"""Confirm the README's claims on clips that no choice has ever seen.

    python -m benchmarks.confirmation --base --stage-1 models/single_frame_sft --stage-2 models/multi_frame_sft \\
        --stage-3 models/two_turn_grpo [FOLDER ...]

Settings were chosen on val and on the clips of `benchmarks.choosing`, so figures on those flatter the chosen settings.
The clips here have a seed of their own, written down before they were first rendered. Use them to report what has been
decided, never to decide. Scores are calibrated, and verdicts follow from them, as in the project's
`evaluation/calibration.json`, which val gave.

Prints Markdown: for each part (standard, shifted, brief, small) the metrics of every checkpoint with their 95 %
intervals, the differences of stage 3 and stage 2 on the same clips, and, with several seeds of stage 3, their mean with
Student's t interval. IoUs are also given as shares of what perfect answers reach with the same frames.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.other_clips import cell, judge, render
from cac.ablation.table import estimate
from cac.errors import CacError
from cac.evaluation.ceiling import PERFECT_ANSWERS, perfect_judgements
from cac.evaluation.facts import Facts, clip_facts
from cac.evaluation.intervals import Interval, evaluate_facts, paired_difference
from cac.evaluation.metrics import point_values
from cac.evaluation.relative import relative_to_ceiling
from cac.model.adapter_files import require_adapter
from cac.model.calibration import Calibration
from cac.params import Params, load_params
from cac.paths import EVALUATION, MULTI_FRAME_SFT, SINGLE_FRAME_SFT, TWO_TURN_GRPO
from cac.schema.annotations import Clip, read_clips
from cac.schema.judgement import Judgement
from cac.training.rewards import total_reward

SEED = 20261201  # written down on 1 December 2026, before the first use
PAIRS = {"pairs": 300, "shifted_pairs": 250, "hard_test_pairs": 160}
PARTS = ("standard", "shifted", "brief", "small")
BASE = "base"
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

PartFacts = dict[str, Facts]  # row -> facts of one part


@dataclass(frozen=True)
class Row:
    """One checkpoint: its stage, which names its calibration, and its adapter; None is the base."""

    stage: str
    adapter: Path | None

    @property
    def name(self) -> str:
        """The row's name in the tables."""
        return self.stage if self.adapter is None else str(self.adapter)


def main(argv: Sequence[str] | None = None) -> int:
    """Judge the confirmation set with each checkpoint and print the tables."""
    args = _parser().parse_args(argv)
    params = load_params(Path("params.yaml"))
    try:
        rows = _rows(args)
        calibrations = _calibrations(rows)
        dataset = render(params, "confirmation", SEED, PAIRS)
        judged = {row.name: judge(dataset, row.adapter, params) for row in rows}
    except CacError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    clips = read_clips(dataset)
    judged[PERFECT_ANSWERS] = perfect_judgements(clips, params.frames)
    stage_2, stage_3 = (_names(rows, stage) for stage in (MULTI_FRAME_SFT, TWO_TURN_GRPO))
    for part in PARTS:
        chosen = [index for index, clip in enumerate(clips) if part_of(clip) == part]
        facts = {
            name: _facts(chosen, clips, judgements, calibrations.get(name, Calibration()), params)
            for name, judgements in judged.items()
        }
        print("\n".join(part_table(part, facts, stage_2[0], stage_3, params.evaluation.bootstrap_samples)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.confirmation", description="Confirm claims.")
    parser.add_argument("--base", action="store_true", help="judge with the base without an adapter as well")
    parser.add_argument("--stage-1", type=Path, nargs="*", default=[], metavar="FOLDER", help="of single_frame_sft")
    parser.add_argument("--stage-2", type=Path, required=True, metavar="FOLDER", help="the adapter of multi_frame_sft")
    parser.add_argument(
        "--stage-3", type=Path, nargs="+", required=True, metavar="FOLDER", help="adapters of two_turn_grpo, one a seed"
    )
    return parser


def _rows(args: argparse.Namespace) -> list[Row]:
    """Return the checkpoints to judge.

    Raises:
        CacError: one has no adapter, or two are the same folder.
    """
    rows = [Row(BASE, None)] if args.base else []
    rows += [Row(SINGLE_FRAME_SFT, folder) for folder in args.stage_1]
    rows += [Row(MULTI_FRAME_SFT, args.stage_2), *(Row(TWO_TURN_GRPO, folder) for folder in args.stage_3)]
    adapters = [row.adapter for row in rows if row.adapter is not None]
    for adapter in adapters:
        require_adapter(adapter)
    if len({adapter.resolve() for adapter in adapters}) < len(adapters):
        raise CacError("an adapter is given twice. Name each folder once.")
    return rows


def _names(rows: list[Row], stage: str) -> list[str]:
    return [row.name for row in rows if row.stage == stage]


def part_of(clip: Clip) -> str:
    """Return the part of the confirmation set that a clip belongs to."""
    if clip.split == "test_shifted":
        return "shifted"
    if clip.split != "test_hard":
        return "standard"
    return "brief" if clip.clip_id.startswith("brief") else "small"


def _calibrations(rows: list[Row]) -> dict[str, Calibration]:
    """Read the calibration of each row's stage, which `cac evaluate` fitted on val."""
    path = EVALUATION / "calibration.json"
    if not path.is_file():
        raise CacError(f"no {path}. Evaluate the project first: `dvc repro evaluate`.")
    fitted = json.loads(path.read_text(encoding="utf-8"))
    if missing := sorted({row.stage for row in rows} - set(fitted)):
        raise CacError(
            f"{path} has no calibration of {', '.join(missing)}. Evaluate the project: `dvc repro evaluate`."
        )
    return {row.name: Calibration(**fitted[row.stage]) for row in rows}


def _facts(
    chosen: list[int], clips: list[Clip], judged: list[Judgement], calibration: Calibration, params: Params
) -> Facts:
    """Return the facts of one checkpoint on the chosen clips."""
    pairs = [(clips[index], judged[index]) for index in chosen]
    return clip_facts(
        [clip for clip, _ in pairs],
        [calibration.decide(one) for _, one in pairs],
        [calibration.probability(one) for _, one in pairs],
        params.evaluation.calibration_bins,
        [total_reward(one, clip, params.two_turn_grpo) for clip, one in pairs],
    )


def part_table(part: str, facts: PartFacts, stage_2: str, stage_3: list[str], samples: int) -> list[str]:
    """Return the lines of one part's table.

    Args:
        part: its name.
        facts: of every row, those of `PERFECT_ANSWERS` among them.
        stage_2: the row that stage 3 is compared with.
        stage_3: the rows of stage 3, one a seed.
        samples: bootstrap samples.
    """
    lines = [
        f"\n## {part}: {len(facts[stage_2].pair)} clips\n",
        _line("", METRICS),
        f"| --- |{' --- |' * len(METRICS)}",
    ]
    for name, own in facts.items():
        measured = evaluate_facts(own, samples, SEED)
        lines.append(_line(name, [cell(measured[metric]) for metric in METRICS]))
    highest = point_values(facts[PERFECT_ANSWERS])
    for name in (stage_2, *stage_3):
        shares = relative_to_ceiling(point_values(facts[name]), highest)
        lines.append(_line(f"{name} / perfect answers", [_share(shares.get(metric)) for metric in METRICS]))
    differences = [paired_difference(facts[name], facts[stage_2], samples, SEED) for name in stage_3]
    for name, difference in zip(stage_3, differences, strict=True):
        lines.append(_line(f"{name} minus stage 2", [cell(difference[metric], sign="+") for metric in METRICS]))
    if len(stage_3) > 1:
        means = [mean_over_seeds([one[metric] for one in differences]) for metric in METRICS]
        lines.append(_line(f"mean of {len(stage_3)} seeds minus stage 2", means))
    return lines


def mean_over_seeds(differences: Sequence[Interval]) -> str:
    """Return the mean of one metric's differences with its Student's t interval; "–" if any is undefined."""
    values = [one["value"] for one in differences]
    known = [value for value in values if value is not None]
    return str(estimate(known)) if len(known) == len(values) else "–"


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
