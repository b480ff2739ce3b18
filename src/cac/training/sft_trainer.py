"""TRL's SFT trainer with one addition: the words that decide weigh more.

An answer of fifty tokens holds six to eight that say something of their own: whether a frame is odd, and which anomaly
it shows or none. The rest is time stamps, line ends, and what follows from them; coordinates take most of what is left
of the loss. Imports TRL at the top, so import it inside functions only.
"""

from collections.abc import Sequence
from typing import Any

import torch
from trl import SFTTrainer

from cac.taxonomy import LEAVES

DECISIONS = ("odd", "clear", "none", *LEAVES)


def decision_ids(tokenizer: Any) -> list[int]:
    """Return the first token of every word that decides, as it stands inside a line."""
    return sorted({tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in DECISIONS})


class DecisionSFTTrainer(SFTTrainer):
    """`SFTTrainer` that adds the mean loss of the deciding tokens of a batch, `decision_weight` times.

    Attributes:
        decision_weight: 0 gives TRL's own loss.
        decisions: the ids of the deciding tokens.
    """

    decision_weight: float = 0.0
    decisions: Sequence[int] = ()

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return TRL's loss plus that of the decisions, from the same forward pass."""
        if self.decision_weight == 0 or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        outputs = []

        def recorded(**kwargs: Any) -> Any:
            outputs.append(model(**kwargs))
            return outputs[-1]

        loss = super().compute_loss(recorded, inputs, num_items_in_batch=num_items_in_batch)
        labels = inputs["labels"][:, 1:]
        decisive = torch.isin(labels, torch.tensor(self.decisions, device=labels.device))
        decided = -outputs[0].log_probs[decisive].sum() / decisive.sum().clamp(min=1)
        # With a token count from outside, the caller leaves averaging over accumulated batches to the loss.
        parts = self.current_gradient_accumulation_steps if num_items_in_batch is not None else 1
        return loss + self.decision_weight * decided / parts
