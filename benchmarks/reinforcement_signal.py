"""Measure the signal-to-noise ratio of the policy gradient: one checkpoint's gradients on disjoint sets of clips.

    python -m benchmarks.reinforcement_signal models/multi_frame_sft --parts 6 --clips 32

A GRPO step estimates the expected gradient over clips from a few clips, with noise. Here the GRPO clips are divided
into disjoint parts, each part is rolled out as in `two_turn_grpo`, and the gradient of each reward in each turn is
computed separately, without an update. What the gradients of two parts have in common is signal. With a mean cosine c
between two parts, half of the gradient is signal from (1 - c) / c times the rollouts of a part. Rewards whose gradients
have a negative cosine conflict.

Out of scope: the size of the step, and whether greedy answers improve; see `benchmarks.choosing`.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Column, Table

from cac.errors import CacError
from cac.params import Params, load_params
from cac.paths import DATASET
from cac.schema.annotations import read_clips
from cac.training.grpo.advantages import turn_weights
from cac.training.grpo.trainer import TwoTurnGRPOTrainer
from cac.training.progress import report_progress
from cac.training.rewards import reward_functions
from cac.training.train_partition import grpo_clips
from cac.training.trainer_arguments import TrainerInputs
from cac.training.two_turn_grpo import DISPLAYED_METRICS, build_trainer, load_policy

TURNS = ("scan", "look")
BY_TURN = "all, by turn"  # as trained, unless `two_turn_grpo.advantages` is "trajectory"
Credit = tuple[str, str]  # turn, reward component


class SignalTrainer(TwoTurnGRPOTrainer):
    """A trainer that computes the gradient of each credit separately and updates no weight.

    Attributes:
        credits: the pairs of turn and reward.
        gradients: for each step and credit the flattened gradient of all trainable weights, on the CPU.
    """

    credits: Sequence[Credit]
    gradients: list[list[torch.Tensor]]

    def _turn_advantages(self, output: dict[str, Any]) -> torch.Tensor:
        separate = []
        for turn, reward in self.credits:
            own = [name == reward for name in self.reward_func_names]
            self.turn_weights = [(float(one and turn == "scan"), float(one and turn == "look")) for one in own]
            separate.append(super()._turn_advantages(output))
        output["credits"] = torch.stack(separate, dim=-1)  # (rollouts, tokens, credits)
        size = sum(parameter.numel() for parameter in self._trainable())
        self.gradients.append([torch.zeros(size) for _ in self.credits])
        return separate[0]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Accumulate each credit's gradient over the passes of a step; the returned loss has a zero gradient."""
        separate = inputs.pop("credits").unbind(dim=-1)
        self._read: Any = None
        loss = torch.zeros((), requires_grad=True)
        for advantages, total in zip(separate, self.gradients[-1], strict=True):
            if advantages.any():
                loss = super()._compute_loss(model, {**inputs, "advantages": advantages})  # type: ignore[no-untyped-call]
                parts = torch.autograd.grad(loss, self._trainable(), retain_graph=True)
                total += torch.cat([part.flatten() for part in parts]).cpu()
        return loss * 0

    def _get_per_token_logps_and_entropies(self, *args: Any, **options: Any) -> Any:
        if self._read is None:  # one forward pass serves all credits
            self._read = super()._get_per_token_logps_and_entropies(*args, **options)
        return self._read

    def _trainable(self) -> list[torch.nn.Parameter]:
        return [
            parameter for parameter in self.accelerator.unwrap_model(self.model).parameters() if parameter.requires_grad
        ]


@dataclass(frozen=True)
class Signal:
    """The agreement between the parts' gradients of one credit, or of a sum of credits.

    Attributes:
        length: root mean square of their norms.
        cosine: mean cosine of two of them, in [-1, 1].
        error: jackknife standard error of the cosine.
    """

    length: float
    cosine: float
    error: float

    def rollouts_needed(self, of_a_part: int) -> float | None:
        """Return how many rollouts give a gradient that is half signal; None if the cosine is below two errors."""
        if self.cosine <= 2 * self.error:
            return None
        return (1 - self.cosine) / self.cosine * of_a_part


def signal(gradients: torch.Tensor) -> Signal:
    """Compare the gradients of at least three parts: (parts, weights)."""
    cosines = _cosines(gradients)
    parts = len(cosines)
    left = [_mean_off_diagonal(cosines[kept][:, kept]) for kept in _jackknife_subsets(parts)]
    spread = torch.tensor(left, dtype=torch.float64)
    error = ((parts - 1) / parts * (spread - spread.mean()).square().sum()).sqrt()
    length = gradients.double().square().sum(dim=1).mean().sqrt()
    return Signal(float(length), _mean_off_diagonal(cosines), float(error))


def _cosines(gradients: torch.Tensor) -> torch.Tensor:
    unit = torch.nn.functional.normalize(gradients.double(), dim=1)
    return unit @ unit.T


def _mean_off_diagonal(square: torch.Tensor) -> float:
    count = len(square)
    return float((square.sum() - square.trace()) / (count * (count - 1)))


def _jackknife_subsets(count: int) -> list[list[int]]:
    return [[index for index in range(count) if index != out] for out in range(count)]


def main() -> int:
    """Measure one checkpoint; print the signal of each credit, and which credits conflict."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reinforcement_signal", description="Signal and noise.")
    parser.add_argument("checkpoint", type=Path, metavar="FOLDER", help="the adapter to start from")
    parser.add_argument("--parts", type=int, default=6, metavar="N", help="number of parts, at least 3 (default: 6)")
    parser.add_argument("--clips", type=int, default=32, metavar="N", help="clips per part (default: 32)")
    args = parser.parse_args()
    if args.parts < 3 or args.clips < 1:
        parser.error("--parts must be at least 3, because one cosine has no standard error, and --clips at least 1")
    try:
        params = load_params(Path("params.yaml"))
        measured = measure(args.checkpoint, params, Path(), args.parts, args.clips)
    except CacError as error:
        parser.error(str(error))
    _print(measured, params, args.clips)
    return 0


def measure(checkpoint: Path, params: Params, root: Path, parts: int, clips: int) -> dict[Credit, torch.Tensor]:
    """Return the gradients of every credit that is not zero: (parts, weights) each.

    Raises:
        CacError: `frames.looks` is not 2, there are too few GRPO clips, all rollouts have equal rewards, or the
            dataset or the checkpoint is missing or does not fit.
    """
    if params.frames.looks != 2:
        raise CacError("GRPO needs two looks, but frames.looks is 1. Set it to 2.")
    kept = len(grpo_clips(read_clips(root / DATASET, "train"), params.train_partition))
    if kept < parts * clips:
        raise CacError(
            f"{parts} parts of {clips} clips are {parts * clips}, but only {kept} are reserved for GRPO "
            "(train_partition.reinforcement_ratio). Ask for fewer with --parts or --clips."
        )
    with tempfile.TemporaryDirectory() as folder:
        trainer = frozen_trainer(checkpoint, params, root, parts, clips, Path(folder))
        trainer.credits = _credits(params)
        trainer.gradients = []
        report_progress(trainer, "reinforcement_signal", DISPLAYED_METRICS, lambda _metrics, _step: None)
        trainer.train()
    by_credit = {one: torch.stack([step[i] for step in trainer.gradients]) for i, one in enumerate(trainer.credits)}
    measured = {credit: gradients for credit, gradients in by_credit.items() if gradients.any()}
    if not measured:
        raise CacError(
            "all rollouts of each clip have equal rewards, so the gradient is zero. Use more clips (--clips)."
        )
    return measured


def frozen_trainer(
    checkpoint: Path,
    params: Params,
    root: Path,
    parts: int,
    clips: int,
    folder: Path,
    kind: type[TwoTurnGRPOTrainer] = SignalTrainer,
) -> Any:
    """Return the trainer of `two_turn_grpo` with one step a part, learning rate 0 and a frozen vision tower."""
    frozen = _frozen(params, parts, clips)
    return build_trainer(frozen, root, TrainerInputs(*load_policy(frozen, checkpoint), folder), kind)


def _credits(params: Params) -> list[Credit]:
    """Return all credits: a scan affects all rewards, a look all but the scan's own."""
    rewards = list(reward_functions(params.two_turn_grpo))
    return [(turn, reward) for turn in TURNS for reward in rewards if (turn, reward) != ("look", "scan")]


def _frozen(params: Params, parts: int, clips: int) -> Params:
    """Return settings that update nothing and do not scale advantages, so that gradients are additive."""
    changes = {
        "max_steps": parts,
        "prompts_per_step": clips,
        "learning_rate": 0.0,
        "beta": 0.0,
        "scale_rewards": "none",
        "advantages": "turn",
        "look_credit": 1.0,
        "train_vision": False,
        "save_steps": parts + 1,
        "logging_steps": 1,
    }
    return params.model_copy(update={"two_turn_grpo": params.two_turn_grpo.model_copy(update=changes)})


def by_turn(measured: Mapping[Credit, torch.Tensor], params: Params) -> torch.Tensor:
    """Sum the credits with the weights of `two_turn_grpo` and advantages by turn, unscaled: (parts, weights)."""
    settings = params.two_turn_grpo
    names = list(reward_functions(settings))
    pairs = turn_weights(names, settings.reward_weights.model_dump(), settings.scan_verdict_ratio)
    weights = {("scan", name): scan for name, (scan, _) in zip(names, pairs, strict=True)}
    weights |= {("look", name): settings.look_credit * look for name, (_, look) in zip(names, pairs, strict=True)}
    return torch.stack([weights[credit] * gradients for credit, gradients in measured.items()]).sum(dim=0)


def _print(measured: Mapping[Credit, torch.Tensor], params: Params, clips: int) -> None:
    rollouts = clips * params.two_turn_grpo.num_generations
    console = Console()
    console.print(f"\n{rollouts} rollouts of {clips} clips per part, temperature {params.two_turn_grpo.temperature}")
    rows = {f"{turn}, {reward}": gradients for (turn, reward), gradients in measured.items()}
    titles = ("credit", "norm", "cosine of two parts", "half signal from")
    table = Table(*(Column(title, no_wrap=True) for title in titles), box=None, pad_edge=False)
    for name, gradients in {**rows, BY_TURN: by_turn(measured, params)}.items():
        one = signal(gradients)
        needed = one.rollouts_needed(rollouts)
        shown = "no signal found" if needed is None else f"{needed:,.0f} rollouts"
        table.add_row(name, f"{one.length:.3g}", f"{one.cosine:+.3f} ± {one.error:.3f}", shown)
    console.print(table, "", sep="\n")
    conflicts = Table(Column("cosine of sums", no_wrap=True), box=None, padding=(0, 1, 0, 0))
    for number in range(1, len(rows) + 1):
        conflicts.add_column(str(number), justify="right", no_wrap=True)
    sums = _cosines(torch.stack([gradients.sum(dim=0) for gradients in measured.values()]))
    for number, (name, row) in enumerate(zip(rows, sums.tolist(), strict=True), start=1):
        conflicts.add_row(f"{number} {name}", *(f"{value:+.2f}" for value in row))
    console.print(conflicts)


if __name__ == "__main__":
    sys.exit(main())
