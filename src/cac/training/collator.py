"""From dialogues to model inputs: the one collator of pretraining and both supervised stages.

TRL's vision collator neither hands tools to the chat template nor fills images into tool messages, so SFT and GRPO
prompts would differ. This one lets the processor render the whole dialogue, tools included, and trains on the
assistant's tokens only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cac.schema.dialogue import CONCENTRATE_TOOL, Message
from cac.schema.geometry import Box, cell_shares
from cac.schema.taxonomy import LEAVES

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100  # the label index that the loss leaves out

ImageLabel = tuple[str, Box] | None  # the leaf and box of one image, None for a clear one
WORDS = ("none", *LEAVES)
MIN_SHARE = 0.25  # of a token's cell that a box must cover


@dataclass(frozen=True)
class Dialogue:
    """A dialogue to learn from.

    Attributes:
        messages: the messages, with PIL images in them.
        has_tool: whether the `concentrate` tool is offered.
        learn_from_turn: the first assistant message that is learned from; those before it are only context.
        evidence: of each image, in order, what it shows; None where nothing dense is learned.
    """

    messages: list[Message]
    has_tool: bool
    learn_from_turn: int = 0
    evidence: tuple[ImageLabel, ...] | None = None


def training_template(processor: Any) -> str:
    """Return the processor's chat template with markers around the assistant's tokens, as TRL knows it.

    Raises:
        ValueError: TRL knows no training variant of this template.
    """
    from trl.chat_template_utils import get_training_chat_template

    return get_training_chat_template(processor) or processor.chat_template


def collate(processor: Any, template: str, dialogues: Sequence[Dialogue]) -> dict[str, Any]:
    """Tokenise dialogues into one right-padded batch with `labels` that are `IGNORED` outside the assistant's tokens.

    All dialogues of a batch must offer the tool or none. Every image placeholder must have its features. If the
    dialogues tell what their images show, `evidence` holds a label for each image token.
    """
    tools = {dialogue.has_tool for dialogue in dialogues}
    if len(tools) != 1:
        raise ValueError("a batch must not mix dialogues with and without the tool")
    batch = processor.apply_chat_template(
        [dialogue.messages for dialogue in dialogues],
        tools=[CONCENTRATE_TOOL] if tools.pop() else None,
        chat_template=template,
        tokenize=True,
        return_dict=True,
        return_tensors=None,  # with tensors, Transformers 5.23 makes the mask element by element, which takes longest
        return_assistant_tokens_mask=True,
        processor_kwargs={"padding": True, "padding_side": "right"},
    ).convert_to_tensors("pt")
    mask = batch.pop("assistant_masks").bool()
    for row, dialogue in zip(mask, dialogues, strict=True):
        _drop_first_spans(row, dialogue.learn_from_turn)
    assert_images_complete(processor, batch)
    labels = {"labels": batch["input_ids"].masked_fill(~mask, IGNORED)}
    if all(dialogue.evidence is not None for dialogue in dialogues):
        labels["evidence"] = dense_token_labels(processor, dialogues, batch["image_grid_thw"])
    return {**batch, **labels}


def _drop_first_spans(mask: Any, count: int) -> None:
    """Set the first `count` runs of true values of a boolean vector to false, in place."""
    for _ in range(count):
        start = int(mask.int().argmax())
        length = int((~mask[start:]).int().argmax())
        mask[start : start + length] = False


def assert_images_complete(processor: Any, batch: Any) -> None:
    """Check that the image tokens of a batch are as many as its image features.

    Raises:
        ValueError: they differ, which would train on blank or shifted images.
    """
    merge = processor.image_processor.merge_size**2
    tokens = int((batch["input_ids"] == processor.image_token_id).sum())
    features = int(batch["image_grid_thw"].prod(dim=1).sum()) // merge if "image_grid_thw" in batch else 0
    if tokens != features:
        raise ValueError(f"{tokens} image tokens but {features} image features in the batch")


def dense_token_labels(processor: Any, dialogues: Sequence[Dialogue], grids: "Tensor") -> "Tensor":
    """Return for each image token of a batch the index in `WORDS` of what it shows: (image tokens,).

    Args:
        processor: its image processor says how many patches one token stands for.
        dialogues: each with the evidence of its images.
        grids: (images, 3), the patches of each image of the batch over time, rows and columns.
    """
    import torch

    merge = processor.image_processor.merge_size
    shown = [evidence for dialogue in dialogues for evidence in dialogue.evidence or ()]
    labels = []
    for evidence, (_, rows, columns) in zip(shown, grids.tolist(), strict=True):
        grid = torch.zeros(rows // merge, columns // merge, dtype=torch.long)
        if evidence is not None:
            leaf, box = evidence
            covered = torch.from_numpy(cell_shares(box, *grid.shape))
            grid[covered >= min(MIN_SHARE, float(covered.max()))] = WORDS.index(leaf)
        labels.append(grid.flatten())
    return torch.cat(labels)
