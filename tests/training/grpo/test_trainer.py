"""Which tokens of a rollout the trainer credits, and with how much."""

from types import SimpleNamespace

import pytest
import torch

from cac.training.grpo.trainer import TwoTurnGRPOTrainer

COMPLETIONS = {"completion_ids": torch.zeros(2, 4), "tool_mask": torch.tensor([[1, 0, 1, 1], [1, 0, 1, 1]])}


def advantages(look_credit: float) -> torch.Tensor:
    """Return those of a group of two: the first has the better scan, the second the better look."""
    trainer = TwoTurnGRPOTrainer.__new__(TwoTurnGRPOTrainer)
    trainer.num_generations, trainer.scale_rewards = 2, "none"
    trainer.accelerator = SimpleNamespace(process_index=0)
    trainer.turn_weights, trainer.look_credit = [(1.0, 0.0), (0.0, 1.0)], look_credit
    trainer._component_rewards = torch.tensor([[1.0, 0.2], [0.0, 0.6]])
    return trainer._turn_advantages(COMPLETIONS)


@pytest.mark.parametrize("credit", [1.0, 0.5, 0.0])
def test_the_looks_advantages_are_scaled_and_the_scans_are_not(credit: float) -> None:
    scan, look = 0.5, 0.2 * credit
    expected = torch.tensor([[scan, -look, -look, -look], [-scan, look, look, look]])
    torch.testing.assert_close(advantages(credit), expected)
