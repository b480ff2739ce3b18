"""The collator of pretraining and of both supervised stages: from dialogues to model inputs.

TRL's vision collator neither passes tools to the chat template nor puts images into tool messages, so SFT and GRPO
prompts would differ. This collator lets the processor render the whole dialogue, tools included, and labels the
assistant's tokens only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cac.schema.dialogue import CONCENTRATE_TOOL, Message, Span
from cac.training.dense_token_loss import ImageLabel, dense_token_labels

IGNORE_INDEX = -100  # the label that the loss skips


@dataclass(frozen=True)
class Dialogue:
    """A training dialogue.

    Attributes:
        messages: the messages, with PIL images in them.
        has_tool: whether the `concentrate` tool is offered.
        learn_from_turn: the first assistant message with labels; earlier ones are context only.
        image_labels: the label of each image, in order; None without a dense token loss.
        unlabelled: the parts of the last answer's text that have no labels: numbers that nobody annotated.
    """

    messages: list[Message]
    has_tool: bool
    learn_from_turn: int = 0
    image_labels: tuple[ImageLabel, ...] | None = None
    unlabelled: tuple[Span, ...] = ()


def training_template(processor: Any) -> str:
    """Return TRL's training variant of the processor's chat template, which marks the assistant's tokens.

    Raises:
        ValueError: TRL has no training variant of this template.
    """
    from trl.chat_template_utils import get_training_chat_template

    template: str = get_training_chat_template(processor) or processor.chat_template
    return template


def collate(processor: Any, template: str, dialogues: Sequence[Dialogue]) -> dict[str, Any]:
    """Tokenise dialogues into one right-padded batch.

    `labels` are `IGNORE_INDEX` outside the assistant's tokens and on what a dialogue leaves `unlabelled`. If every
    dialogue has image labels, `dense_labels` holds a label for each image token.

    Raises:
        ValueError: some dialogues offer the tool and some do not, an image placeholder has no features, or the tokens
            of an answer with unlabelled parts do not spell it.
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
        return_tensors=None,  # with tensors, Transformers 5.23 builds the mask element by element, which is slow
        return_assistant_tokens_mask=True,
        processor_kwargs={"padding": True, "padding_side": "right"},
    ).convert_to_tensors("pt")
    mask = batch.pop("assistant_masks").bool()
    for row, ids, dialogue in zip(mask, batch["input_ids"], dialogues, strict=True):
        _drop_first_runs(row, dialogue.learn_from_turn)
        if dialogue.unlabelled:
            _drop_characters(row, ids.tolist(), processor.tokenizer, dialogue)
    assert_images_complete(processor, batch)
    labels = {"labels": batch["input_ids"].masked_fill(~mask, IGNORE_INDEX)}
    if all(dialogue.image_labels is not None for dialogue in dialogues):
        image_labels = [label for dialogue in dialogues for label in dialogue.image_labels or ()]
        labels["dense_labels"] = dense_token_labels(processor, image_labels, batch["image_grid_thw"])
    return {**batch, **labels}


def _drop_first_runs(mask: Any, count: int) -> None:
    """Set the first `count` runs of true values of a boolean vector to false, in place."""
    for _ in range(count):
        start = int(mask.int().argmax())
        length = int((~mask[start:]).int().argmax())
        mask[start : start + length] = False


def _drop_characters(mask: Any, ids: Sequence[int], tokenizer: Any, dialogue: Dialogue) -> None:
    """Set a boolean vector to false at every token that holds an unlabelled character of the last answer, in place.

    The last run of true values is that answer. Tokens are matched to characters by what the first few of them spell, so
    it does not matter how a tokeniser cuts numbers and spaces.

    Raises:
        ValueError: the tokens do not spell the answer.
    """
    stop = int(mask.nonzero()[-1]) + 1
    start = stop - int(mask[:stop].flip(0).int().cumprod(0).sum())
    spelled = [tokenizer.decode(ids[start:end], clean_up_tokenization_spaces=False) for end in range(start, stop + 1)]
    answer = dialogue.messages[-1]["content"][0]["text"]
    offset = spelled[-1].find(answer)
    if offset < 0:
        raise ValueError(f"the tokens {spelled[-1]!r} do not spell the answer {answer!r}")
    for position, (before, after) in enumerate(pairwise(spelled), start=start):
        first, last = len(before) - offset, len(after) - offset
        if any(first < end and begin < last for begin, end in dialogue.unlabelled):
            mask[position] = False


def assert_images_complete(processor: Any, batch: Any) -> None:
    """Check that a batch has as many image tokens as image features.

    Raises:
        ValueError: the numbers differ, so images would be blank or shifted.
    """
    merge = processor.image_processor.merge_size**2
    tokens = int((batch["input_ids"] == processor.image_token_id).sum())
    features = int(batch["image_grid_thw"].prod(dim=1).sum()) // merge if "image_grid_thw" in batch else 0
    if tokens != features:
        raise ValueError(f"{tokens} image tokens but {features} image features in the batch")
