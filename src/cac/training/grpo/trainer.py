"""TRL's GRPO trainer with two additions: advantages by turn, and an error when TRL drops the images of a batch.

Imports TRL at the top, so import it inside functions only.
"""

from typing import Any

import torch
from trl import GRPOTrainer

from cac.training.grpo.advantages import group_advantages, token_advantages


class TwoTurnGRPOTrainer(GRPOTrainer):
    """`GRPOTrainer` that can credit each turn with its own rewards, and raises if TRL dropped the images of a batch.

    If image tokens and image features do not match, TRL 1.16 drops all images of the batch silently.

    Attributes:
        turn_weights: the weight of each reward component in turn 1 and in turn 2; None for one advantage for the whole
            trajectory, as in TRL.
        look_credit: factor on the advantages of turn 2, in [0, 1].
        rollout_samples: some rollouts of the last step as text.
    """

    turn_weights: list[tuple[float, float]] | None = None
    look_credit: float = 1.0
    rollout_samples: list[str]

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self._component_rewards = super()._calculate_rewards(*args, **kwargs)
        result: torch.Tensor = self._component_rewards
        return result

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if "pixel_values" not in output:
            raise RuntimeError("image tokens and image features of a rollout do not match, so TRL dropped the images")
        if self.turn_weights is not None:
            output["advantages"] = self._turn_advantages(output)
        return output

    def _turn_advantages(self, output: dict[str, Any]) -> torch.Tensor:
        """Return advantages of shape (rollouts, tokens) of this process's rollouts."""
        weights = torch.tensor(self.turn_weights, device=self._component_rewards.device)
        by_turn = (
            torch.nan_to_num(self._component_rewards) @ weights
        )  # (rollouts of all processes, 2); a reward of None counts 0
        generations = self.num_generations or 1
        scan, look = (group_advantages(by_turn[:, turn], generations, self.scale_rewards) for turn in (0, 1))
        rows = len(output["completion_ids"])
        local = slice(self.accelerator.process_index * rows, (self.accelerator.process_index + 1) * rows)
        tool_mask = output.get("tool_mask", torch.ones_like(output["completion_ids"]))
        return token_advantages(scan[local], self.look_credit * look[local], tool_mask)
