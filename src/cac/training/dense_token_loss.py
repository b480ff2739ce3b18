"""Dense evidence: every image token learns whether it lies in an anomaly's box, and in which leaf's.

An answer of fifty tokens says little about the hundreds of image tokens it was read off. Here each of them is read as
the answer's own words, "none" or a leaf, through the model's own last norm and output matrix (the logit lens), one
layer before the end so that answers can still attend to what it wrote. So there is no head to make, keep or load, and
generation is as before. Only the words that decide are compared. It leaves out the weighing (`sft_trainer.py`).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


PROBED_LAYER = -2  # the last layer but one


def dense_token_loss(
    model: Any,
    states: "Tensor",
    labels: "Tensor",
    word_ids: Sequence[int],
    over_all: Callable[["Tensor"], "Tensor"] = lambda number: number,
) -> "Tensor":
    """Return the cross-entropy of the words that image tokens are read as; shown and clear ones count half each.

    Args:
        model: the model with its output matrix, without an adapter's wrapper.
        states: the image tokens after `PROBED_LAYER`: (image tokens, width).
        labels: as `dense_token_labels` returns them.
        word_ids: the first token of each of `WORDS`; words with the same one are not told apart.
        over_all: makes of the number of tokens here what their sum is divided by, where other processes have more.
    """
    import torch

    ids, place = torch.tensor(word_ids, device=states.device).unique(return_inverse=True)
    scores = model.model.language_model.norm(states) @ model.lm_head.weight[ids].T
    losses = torch.nn.functional.cross_entropy(scores, place[labels], reduction="none")
    kinds = [(losses[chosen].sum(), over_all(chosen.sum())) for chosen in (labels == 0, labels > 0)]
    return torch.stack([total / number for total, number in kinds if number > 0]).mean()
