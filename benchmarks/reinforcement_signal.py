"""How much of what reinforcement would learn is signal: one checkpoint's policy gradients on different clips, compared.

    python -m benchmarks.reinforcement_signal models/multi_frame_sft --parts 6 --clips 32

Reinforcement goes where its rewards point, on average over clips. What a step sees is that average from a few clips,
and noise. So the clips kept for reinforcement are dealt into parts, each part is rolled out as `two_turn_grpo` does it,
and the gradient of each reward in each turn is taken apart, with no weight changed. Two parts share no clip and no
rollout: what their gradients agree on is signal. The mean cosine c of two parts says how many rollouts it takes until a
gradient is nearer to the true one than to noise: (1 - c) / c times those of a part. Rewards whose gradients have a
negative cosine pull against each other.

It says nothing of how far to go along a gradient, nor whether greedy answers gain by it: `benchmarks.choosing` does.
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
from cac.training.advantages import turn_weights
from cac.training.grpo_trainer import TwoTurnGRPOTrainer
from cac.training.progress import report_progress
from cac.training.rewards import reward_functions
from cac.training.train_partition import grpo_clips
from cac.training.trainer_arguments import TrainerInputs
from cac.training.two_turn_grpo import DISPLAYED_METRICS, build_trainer, load_policy

TURNS = ("scan", "look")
BY_TURN = "all of it, by turn"  # as trained, unless `two_turn_grpo.advantages` is "trajectory"
Credit = tuple[str, str]  # a turn, and the reward that its tokens are credited with


class SignalTrainer(TwoTurnGRPOTrainer):
    """A trainer that takes the gradient of each credit apart and leaves every weight as it is.

    Attributes:
        credits: the turns and rewards to take apart.
        gradients: for each step and credit the gradient of all weights in a row, on the CPU.
    """

    credits: Sequence[Credit]
    gradients: list[list[torch.Tensor]]

    def _turn_advantages(self, output: dict[str, Any]) -> torch.Tensor:
        apart = []
        for turn, reward in self.credits:
            own = [name == reward for name in self.reward_func_names]
            self.turn_weights = [(float(one and turn == "scan"), float(one and turn == "look")) for one in own]
            apart.append(super()._turn_advantages(output))
        output["credits"] = torch.stack(apart, dim=-1)  # (rollouts, tokens, credits)
        size = sum(parameter.numel() for parameter in self._learned())
        self.gradients.append([torch.zeros(size) for _ in self.credits])
        return apart[0]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Add up each credit's gradient over the passes of a step; the loss that is returned has none."""
        apart = inputs.pop("credits").unbind(dim=-1)
        self._read: Any = None
        loss = torch.zeros((), requires_grad=True)
        for advantages, total in zip(apart, self.gradients[-1], strict=True):
            if advantages.any():
                loss = super()._compute_loss(model, {**inputs, "advantages": advantages})
                parts = torch.autograd.grad(loss, self._learned(), retain_graph=True)
                total += torch.cat([part.flatten() for part in parts]).cpu()
        return loss * 0

    def _get_per_token_logps_and_entropies(self, *args: Any, **options: Any) -> Any:
        if self._read is None:  # all credits of a pass are read off one forward pass
            self._read = super()._get_per_token_logps_and_entropies(*args, **options)
        return self._read

    def _learned(self) -> list[torch.nn.Parameter]:
        return [
            parameter for parameter in self.accelerator.unwrap_model(self.model).parameters() if parameter.requires_grad
        ]


@dataclass(frozen=True)
class Signal:
    """What the parts' gradients of one credit, or of a sum of credits, have in common.

    Attributes:
        length: root mean square of their lengths.
        cosine: mean cosine of two of them, in [-1, 1].
        error: standard error of that, by leaving out one part after another.
    """

    length: float
    cosine: float
    error: float

    def rollouts_needed(self, of_a_part: int) -> float | None:
        """Return how many rollouts give a gradient of which half is signal; None if two errors reach down to none."""
        if self.cosine <= 2 * self.error:
            return None
        return (1 - self.cosine) / self.cosine * of_a_part


def signal(gradients: torch.Tensor) -> Signal:
    """Compare the gradients of some parts: (parts, weights), three parts at least."""
    cosines = _cosines(gradients)
    parts = len(cosines)
    left = [_mean_off_diagonal(cosines[kept][:, kept]) for kept in _each_left_out(parts)]
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


def _each_left_out(count: int) -> list[list[int]]:
    return [[index for index in range(count) if index != out] for out in range(count)]


def main() -> int:
    """Measure one checkpoint; print how much signal each credit has, and which pull against each other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reinforcement_signal", description="Signal and noise.")
    parser.add_argument("checkpoint", type=Path, metavar="FOLDER", help="the adapter to start from")
    parser.add_argument("--parts", type=int, default=6, metavar="N", help="parts, three at least (default: 6)")
    parser.add_argument("--clips", type=int, default=32, metavar="N", help="clips in a part (default: 32)")
    args = parser.parse_args()
    if args.parts < 3 or args.clips < 1:
        parser.error("--parts must be at least 3, for one cosine alone has no error, and --clips at least 1")
    try:
        params = load_params(Path("params.yaml"))
        measured = measure(args.checkpoint, params, Path(), args.parts, args.clips)
    except CacError as error:
        parser.error(str(error))
    _print(measured, params, args.clips)
    return 0


def measure(checkpoint: Path, params: Params, root: Path, parts: int, clips: int) -> dict[Credit, torch.Tensor]:
    """Return the gradients of every credit in which some rollouts differed: (parts, weights) each.

    Raises:
        CacError: `frames.looks` is not 2, there are fewer clips for reinforcement than the parts take, no rollouts
            differ, or the dataset or the checkpoint is missing or does not fit.
    """
    if params.frames.looks != 2:
        raise CacError("reinforcement is of two looks; frames.looks is 1. Set it to 2.")
    kept = len(grpo_clips(read_clips(root / DATASET, "train"), params.train_partition))
    if kept < parts * clips:
        raise CacError(
            f"{parts} parts of {clips} clips are {parts * clips}, but only {kept} are kept for reinforcement "
            "(train_partition.reinforcement_ratio). Ask for fewer with --parts or --clips."
        )
    with tempfile.TemporaryDirectory() as folder:
        trainer = still_trainer(checkpoint, params, root, parts, clips, Path(folder))
        trainer.credits = _credits(params)
        trainer.gradients = []
        report_progress(trainer, "reinforcement_signal", DISPLAYED_METRICS, lambda _metrics, _step: None)
        trainer.train()
    by_credit = {one: torch.stack([step[i] for step in trainer.gradients]) for i, one in enumerate(trainer.credits)}
    measured = {credit: gradients for credit, gradients in by_credit.items() if gradients.any()}
    if not measured:
        raise CacError(
            "no two rollouts of a clip differ in any reward, so there is no gradient. Ask for more with --clips."
        )
    return measured


def still_trainer(
    checkpoint: Path,
    params: Params,
    root: Path,
    parts: int,
    clips: int,
    folder: Path,
    kind: type[TwoTurnGRPOTrainer] = SignalTrainer,
) -> Any:
    """Return `two_turn_grpo`'s trainer for a step a part, in which no weight moves and the vision tower is at rest."""
    still = _still(params, parts, clips)
    return build_trainer(still, root, TrainerInputs(*load_policy(still, checkpoint), folder), kind)


def _credits(params: Params) -> list[Credit]:
    """Return what is taken apart: a scan may matter to all rewards, a look to all but those of windows."""
    rewards = list(reward_functions(params.two_turn_grpo))
    return [(turn, reward) for turn in TURNS for reward in rewards if (turn, reward) != ("look", "temporal_iou")]


def _still(params: Params, parts: int, clips: int) -> Params:
    """Return settings under which nothing moves, and advantages are not scaled, so that gradients add up."""
    still = {
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
    return params.model_copy(update={"two_turn_grpo": params.two_turn_grpo.model_copy(update=still)})


def by_turn(measured: Mapping[Credit, torch.Tensor], params: Params) -> torch.Tensor:
    """Add up the credits as `two_turn_grpo` weighs them with advantages by turn, but unscaled: (parts, weights)."""
    settings = params.two_turn_grpo
    names = list(reward_functions(settings))
    pairs = turn_weights(names, settings.reward_weights.model_dump(), settings.scan_verdict_ratio)
    weights = {("scan", name): scan for name, (scan, _) in zip(names, pairs, strict=True)}
    weights |= {("look", name): settings.look_credit * look for name, (_, look) in zip(names, pairs, strict=True)}
    return torch.stack([weights[credit] * gradients for credit, gradients in measured.items()]).sum(dim=0)


def _print(measured: Mapping[Credit, torch.Tensor], params: Params, clips: int) -> None:
    rollouts = clips * params.two_turn_grpo.num_generations
    console = Console()
    console.print(f"\n{rollouts} rollouts of {clips} clips in a part, temperature {params.two_turn_grpo.temperature}")
    rows = {f"{turn}, {reward}": gradients for (turn, reward), gradients in measured.items()}
    titles = ("credited with", "length", "cosine of two parts", "half is signal from")
    table = Table(*(Column(title, no_wrap=True) for title in titles), box=None, pad_edge=False)
    for name, gradients in {**rows, BY_TURN: by_turn(measured, params)}.items():
        one = signal(gradients)
        needed = one.rollouts_needed(rollouts)
        shown = "no signal seen" if needed is None else f"{needed:,.0f} rollouts"
        table.add_row(name, f"{one.length:.3g}", f"{one.cosine:+.3f} ± {one.error:.3f}", shown)
    console.print(table, "", sep="\n")
    pulls = Table(Column("cosine of sums", no_wrap=True), box=None, padding=(0, 1, 0, 0))
    for number in range(1, len(rows) + 1):
        pulls.add_column(str(number), justify="right", no_wrap=True)
    sums = _cosines(torch.stack([gradients.sum(dim=0) for gradients in measured.values()]))
    for number, (name, row) in enumerate(zip(rows, sums.tolist(), strict=True), start=1):
        pulls.add_row(f"{number} {name}", *(f"{value:+.2f}" for value in row))
    console.print(pulls)


if __name__ == "__main__":
    sys.exit(main())
