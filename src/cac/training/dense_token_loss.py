"""The dense token loss: every image token is classified as "none" or as the leaf whose box covers it.

An answer of fifty tokens gives little gradient to the hundreds of image tokens it depends on. Here each image token is
read as one of the answer's own words through the model's final norm and output matrix (the logit lens), one layer
before the last so that answers can still attend to the result. This adds no head to train, save or load, and
generation does not change. Only the scores of the label words are compared. Out of scope: the weight of this loss
(`sft_trainer.py`).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cac.schema.geometry import Box, cell_shares
from cac.schema.taxonomy import LEAVES

if TYPE_CHECKING:
    from torch import Tensor

# The leaf and box of one image; None for an image without an anomaly. An unknown box is None: no token has a label.
ImageLabel = tuple[str, Box | None] | None
LABEL_WORDS = ("none", *LEAVES)
MIN_COVERAGE = 0.25  # share of a token's cell that a box must cover
PROBED_LAYER = -2  # the last layer but one
UNLABELLED = -1  # the label of a token that may or may not show the anomaly


def dense_token_labels(processor: Any, image_labels: Sequence[ImageLabel], grids: "Tensor") -> "Tensor":
    """Return for each image token of a batch the index of its word in `LABEL_WORDS`: (image tokens,).

    Every token of an image whose box is unknown is `UNLABELLED`.

    Args:
        processor: its image processor defines how many patches are merged into one token.
        image_labels: the label of each image of the batch.
        grids: (images, 3), the patches of each image over time, rows and columns.
    """
    import torch

    merge = processor.image_processor.merge_size
    labels = []
    for label, (_, rows, columns) in zip(image_labels, grids.tolist(), strict=True):
        grid = torch.zeros(rows // merge, columns // merge, dtype=torch.long)
        if label is not None:
            leaf, box = label
            if box is None:
                grid.fill_(UNLABELLED)
            else:
                covered = torch.from_numpy(cell_shares(box, *grid.shape))
                grid[covered >= min(MIN_COVERAGE, float(covered.max()))] = LABEL_WORDS.index(leaf)
        labels.append(grid.flatten())
    return torch.cat(labels)


def dense_token_loss(
    model: Any,
    states: "Tensor",
    labels: "Tensor",
    word_ids: Sequence[int],
    denominator: Callable[["Tensor"], "Tensor"] = lambda number: number,
) -> "Tensor":
    """Return the cross-entropy of the image tokens' words; anomalous and clear tokens each weigh one half.

    Tokens without a label do not count; if none has one, the loss is 0.

    Args:
        model: the model with its output matrix, without an adapter's wrapper.
        states: the image tokens after `PROBED_LAYER`: (image tokens, width).
        labels: (image tokens,), as `dense_token_labels` returns them.
        word_ids: the first token of each of `LABEL_WORDS`; words with the same first token count as one.
        denominator: from the number of tokens in this process to what their sum is divided by.
    """
    import torch

    ids, class_of_word = torch.tensor(word_ids, device=states.device).unique(return_inverse=True)
    scores = model.model.language_model.norm(states) @ model.lm_head.weight[ids].T
    losses = torch.nn.functional.cross_entropy(scores, class_of_word[labels.clamp(min=0)], reduction="none")
    groups = [(losses[chosen].sum(), denominator(chosen.sum())) for chosen in (labels == 0, labels > 0)]
    means = [total / number for total, number in groups if number > 0]
    return torch.stack(means).mean() if means else scores.sum() * 0
