"""TRL's SFT trainer with two additions: the words that decide weigh more, and image tokens learn what they show.

An answer of fifty tokens holds six to eight that say something of their own: whether a frame is odd, and whether an
anomaly is seen on it. The rest is time stamps, line ends, and what follows from them; coordinates take most of what is
left of the loss. What image tokens learn stands in `evidence.py`. Imports TRL at the top, so import it inside functions
only.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from trl import SFTTrainer

from cac.model.adapters import without_wrapper
from cac.training.collator import IGNORED, WORDS
from cac.training.dense_token_loss import PROBED_LAYER, dense_token_loss

DECISIONS = ("odd", "clear", "seen", *WORDS)


def first_token_ids(tokenizer: Any, words: Sequence[str]) -> list[int]:
    """Return the first token of each word, as it stands inside a line."""
    return [tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in words]


class DialogueSFTTrainer(SFTTrainer):
    """`SFTTrainer` that adds the loss of a batch's deciding tokens and of what its image tokens are read as.

    Attributes:
        decision_weight: of the mean loss of the deciding tokens; 0 leaves it out.
        dense_token_loss_weight: of the image tokens' loss, which needs `evidence` in the batch; 0 leaves it out.
        decisions: the ids of the deciding tokens.
        words: the ids of the first tokens of `evidence.WORDS`.
        image_token: the id of an image's tokens.
    """

    decision_weight: float = 0.0
    dense_token_loss_weight: float = 0.0
    decisions: Sequence[int] = ()
    words: Sequence[int] = ()
    image_token: int = -1

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return TRL's loss plus those of the decisions and of the evidence, from the same forward pass."""
        evidence = inputs.pop("evidence", None)
        tokens = self._tokens_of_all(inputs["labels"]) if num_items_in_batch is None else num_items_in_batch
        if return_outputs or self.decision_weight == self.dense_token_loss_weight == 0:
            return super().compute_loss(model, inputs, return_outputs, tokens)
        outputs: list[Any] = []

        def recorded(**kwargs: Any) -> Any:
            outputs.append(model(**kwargs))
            return outputs[-1]

        with self._read_layer() as states:
            loss = super().compute_loss(recorded, inputs, num_items_in_batch=tokens)
        added = self.decision_weight * self._decision_loss(outputs[0].log_probs, inputs["labels"][:, 1:])
        if self.dense_token_loss_weight and evidence is not None:
            image = inputs["input_ids"] == self.image_token
            shown = dense_token_loss(
                without_wrapper(self.model), states[0][image], evidence, self.words, self._over_all
            )
            added = added + self.dense_token_loss_weight * shown
        # With a token count from outside, the caller leaves averaging over accumulated batches to the loss.
        parts = self.current_gradient_accumulation_steps if num_items_in_batch is not None else 1
        return loss + added / parts

    def _tokens_of_all(self, labels: torch.Tensor) -> torch.Tensor | None:
        """Return how many tokens all processes learn from; None if there is but one, which counts its own.

        The trainer counts them itself only for models whose `forward` takes the count, and Qwen3-VL's does not: the
        mean of the processes' means would weigh the tokens of short answers more.
        """
        if self.accelerator.num_processes == 1:
            return None
        return self.accelerator.reduce((labels[:, 1:] != IGNORED).sum(), "sum")

    def _decision_loss(self, log_probs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        decisive = torch.isin(labels, torch.tensor(self.decisions, device=labels.device))
        least = 1 / self.accelerator.num_processes  # one in all processes together
        return -log_probs[decisive].sum() / self._over_all(decisive.sum()).clamp(min=least)

    def _over_all(self, number: torch.Tensor) -> torch.Tensor:
        """Return what a sum is to be divided by to give this process's part of a mean over all processes' samples.

        That is the total of the number in all of them by their count, because gradients are averaged among them.
        """
        processes = self.accelerator.num_processes
        return number if processes == 1 else self.accelerator.reduce(number.float(), "sum") / processes

    @contextmanager
    def _read_layer(self) -> Iterator[list[torch.Tensor]]:
        """Collect what the layer gives that evidence is read off."""
        states: list[torch.Tensor] = []
        layer = without_wrapper(self.model).model.language_model.layers[PROBED_LAYER]
        hook = layer.register_forward_hook(lambda _module, _inputs, output: states.append(output))
        try:
            yield states
        finally:
            hook.remove()
