import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cac.model.nano import ANSWER_WORDS, OWN_LEAVES, build_config, build_processor, nano_folder
from cac.model.reward_model import none_token_id
from cac.schema.dialogue import (
    CONCENTRATE_TOOL,
    Finding,
    Look,
    Scan,
    look_content,
    look_reply,
    scan_prompt,
    scan_reply,
    tool_reply,
)
from cac.schema.taxonomy import LEAVES, Family


@pytest.fixture(scope="module")
def processor():
    return build_processor()


def ids(processor, text: str) -> list[int]:
    return processor.tokenizer(text, add_special_tokens=False)["input_ids"]


def test_every_number_and_time_of_an_answer_is_one_token(processor) -> None:
    for number in range(101):
        assert len(ids(processor, f" {number}")) == 1
    for tenths in range(100):
        assert len(ids(processor, f"{tenths / 10:.1f}")) == 1
    for word in ANSWER_WORDS:
        assert len(ids(processor, f" {word}")) == 1


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_survives_the_tokenizer(text: str) -> None:
    tokenizer = build_processor_once().tokenizer
    if any(token in text for token in tokenizer.all_special_tokens):
        return
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


_processors: list = []


def test_a_leaf_the_vocabulary_lacks_is_written_in_bytes(processor) -> None:
    later = [leaf for leaf in LEAVES if leaf not in OWN_LEAVES]
    assert later
    for leaf in later:
        tokens = ids(processor, f"0.6 {leaf} 23")
        assert len(tokens) == 1 + len(f" {leaf}") + 1
        assert processor.tokenizer.decode(tokens) == f"0.6 {leaf} 23"


def test_none_begins_no_leaf_and_no_leaf_begins_like_a_known_one(processor) -> None:
    none = none_token_id(processor.tokenizer)
    assert ids(processor, " none") == [none]
    known = {ids(processor, f" {leaf}")[0] for leaf in OWN_LEAVES}
    assert not known & {ids(processor, f" {leaf}")[0] for leaf in LEAVES if leaf not in OWN_LEAVES}


def build_processor_once():
    if not _processors:
        _processors.append(build_processor())
    return _processors[0]


def test_trl_knows_the_template_and_its_tools(processor) -> None:
    from trl.chat_template_utils import is_chat_template_prefix_preserving, supports_tool_calling

    assert supports_tool_calling(processor)
    assert is_chat_template_prefix_preserving(processor)


def test_a_two_turn_dialogue_is_short(processor) -> None:
    coarse = [Image.new("RGB", (64, 64))] * 8
    dense = [Image.new("RGB", (80, 80))] * 6
    found = Finding(1.0, (0.1, 0.2, 0.3, 0.4))
    messages = [
        *scan_prompt(coarse, [i / 2 for i in range(8)]),
        scan_reply(Scan(tuple((i / 2, True) for i in range(8)), ((0.5, 2.0),))),
        tool_reply(look_content(dense, [i / 4 for i in range(6)])),
        look_reply(Look((found,) * 6, Family.PHYSICAL, "teleport", "anomalous")),
    ]
    batch = processor.apply_chat_template([messages], tools=[CONCENTRATE_TOOL], tokenize=True, return_dict=True)
    assert len(batch["input_ids"][0]) < 500
    assert sum(token == processor.image_token_id for token in batch["input_ids"][0]) == 8 * 16 + 6 * 25


def test_the_nano_is_a_small_qwen3_vl(processor) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    model = Qwen3VLForConditionalGeneration(build_config(processor.tokenizer))
    assert 1.5e6 <= sum(parameter.numel() for parameter in model.parameters()) <= 6e6


def test_the_shipped_base_has_the_vocabulary_of_this_code(processor) -> None:
    from transformers import AutoProcessor

    shipped = AutoProcessor.from_pretrained(nano_folder())
    assert shipped.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
    assert shipped.chat_template == processor.chat_template
    assert not list(nano_folder().glob("*.bin"))
