import pytest
from PIL import Image

from cac.model.nano import build_processor
from cac.schema.dialogue import (
    Finding,
    Look,
    Scan,
    look_content,
    look_prompt,
    look_reply,
    scan_prompt,
    scan_reply,
    tool_reply,
)
from cac.training.collator import IGNORE_INDEX, Dialogue, assert_images_complete, collate, training_template


@pytest.fixture(scope="module")
def processor():
    return build_processor()


def image(size: int) -> Image.Image:
    return Image.new("RGB", (size, size), (120, 30, 30))


def two_turns(learn_from_turn: int = 0) -> Dialogue:
    look = Look((Finding(0.5), Finding(0.6)), None, None, "clean")
    messages = [
        *scan_prompt([image(64)] * 3, [0.0, 0.5, 1.0]),
        scan_reply(Scan(((0.0, False), (0.5, True), (1.0, False)), ((0.4, 0.8),))),
        tool_reply(look_content([image(80)] * 2, [0.5, 0.6])),
        look_reply(look),
    ]
    return Dialogue(messages, has_tool=True, learn_from_turn=learn_from_turn)


def learned_text(processor, dialogue: Dialogue) -> str:
    batch = collate(processor, training_template(processor), [dialogue, two_turns()])
    labels = batch["labels"][0]
    return processor.tokenizer.decode(labels[labels != IGNORE_INDEX])


SCAN = (
    '0.0 clear\n0.5 odd\n1.0 clear\n<tool_call>\n{"name": "concentrate", "arguments": {"windows": [[0.4, 0.8]]}}\n'
    "</tool_call><|im_end|>\n"
)
LOOK = "0.5 none\n0.6 none\nattribution none verdict clean<|im_end|>\n"


def test_only_the_assistants_tokens_are_learned(processor) -> None:
    assert learned_text(processor, two_turns()) == SCAN + LOOK


def test_a_wrong_first_turn_is_context_only(processor) -> None:
    assert learned_text(processor, two_turns(learn_from_turn=1)) == LOOK


def test_a_batch_with_and_without_the_tool_is_refused(processor) -> None:
    single = Dialogue([*look_prompt([image(80)], [0.5]), two_turns().messages[-1]], has_tool=False)
    with pytest.raises(ValueError, match="with and without the tool"):
        collate(processor, training_template(processor), [two_turns(), single])


def test_missing_image_features_are_noticed(processor) -> None:
    batch = collate(processor, training_template(processor), [two_turns()])
    assert_images_complete(processor, batch)
    with pytest.raises(ValueError, match="98 image tokens but 73 image features"):
        assert_images_complete(processor, {**batch, "image_grid_thw": batch["image_grid_thw"][:-1]})
