"""The grammars allow what the dialogue writes, and what they allow can be read, but for two things they cannot name."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.model.constrained_decoding import GrammarDecoder
from cac.model.nano import build_processor
from cac.schema.dialogue import (
    Finding,
    Look,
    Scan,
    format_times,
    parse_look,
    parse_scan,
    scan_reply,
    split_tool_call,
    write_look,
)
from cac.schema.dialogue_grammar import look_grammar, scan_grammar
from cac.schema.taxonomy import LEAVES, family_of

PROCESSOR = build_processor()
TOKENIZER = PROCESSOR.tokenizer
DECODER = GrammarDecoder(TOKENIZER)
TIMES = st.lists(st.integers(0, 99), min_size=1, max_size=8, unique=True).map(lambda ts: [t / 10 for t in sorted(ts)])
CORNERS = st.tuples(*[st.integers(0, 100)] * 4).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)


def allows(grammar: str, text: str) -> bool:
    """Whether a text is a whole answer of a grammar."""
    matcher = DECODER.matcher(grammar)
    tokens = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


def written(grammar: str, seed: int) -> str:
    """Return an answer that a model without any idea writes."""
    rng, answer = np.random.default_rng(seed), DECODER.answer(grammar, 400)
    answer.extend([0], rng.normal(size=len(TOKENIZER)))
    while answer.unread:
        read = len(answer.unread)
        answer.extend([0] * read, rng.normal(size=len(TOKENIZER)))
    return TOKENIZER.decode(answer.tokens)


@settings(max_examples=60, deadline=None)
@given(TIMES, st.data())
def test_a_look_as_the_dialogue_writes_it_is_allowed(times: list[float], data: st.DataObject) -> None:
    boxes = data.draw(st.lists(st.none() | CORNERS, min_size=len(times), max_size=len(times)))
    found = tuple(
        Finding(t, None if b is None else tuple(x / 100 for x in b)) for t, b in zip(times, boxes, strict=True)
    )
    leaf = data.draw(st.sampled_from(sorted(LEAVES))) if any(boxes) else None
    look = Look(found, family_of(leaf) if leaf else None, leaf, "anomalous" if leaf else "clean")
    text = write_look(look)
    assert allows(look_grammar(format_times(times), DECODER.tag), text)
    assert parse_look(text) == look


@settings(max_examples=60, deadline=None)
@given(TIMES, st.data())
def test_a_scan_as_the_dialogue_writes_it_is_allowed(times: list[float], data: st.DataObject) -> None:
    flags = data.draw(st.lists(st.booleans(), min_size=len(times), max_size=len(times)))
    edges = sorted(data.draw(st.lists(st.integers(0, 40), max_size=6, unique=True)))
    windows = tuple((a / 10, b / 10) for a, b in list(pairwise(edges))[::2])
    reply = scan_reply(Scan(tuple(zip(times, flags, strict=True)), windows))
    messages = [{"role": "user", "content": [{"type": "text", "text": "?"}]}, reply]
    text = PROCESSOR.apply_chat_template(messages, tokenize=False)
    text = text.split("<|im_start|>assistant\n")[1].split("<|im_end|>")[0]
    assert allows(scan_grammar(format_times(times), DECODER.tag), text)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_allowed_can_be_read(seed: int) -> None:
    times = [0.1, 0.4, 1.2]
    look = written(look_grammar(format_times(times), DECODER.tag), seed)
    assert parse_look(look) is not None
    scan = written(scan_grammar(format_times(times), DECODER.tag), seed)
    content, calls = split_tool_call(scan)
    assert parse_scan(content, calls) is not None


@pytest.mark.parametrize(
    "text",
    [
        "0.1 none\n0.4 none\nattribution vanishing verdict anomalous",
        "0.1 none\n0.4 seen 1 2 3 4\nattribution none verdict clean",
        "0.1 none\n0.4 seen 1 2 3 4\nattribution teleport verdict clean",
        "0.1 none\n0.5 none\nattribution none verdict clean",
        "0.1 none\nattribution none verdict clean",
        "0.1 none\n0.4 none\n0.4 none\nattribution none verdict clean",
        "0.1 none\n0.4 seen 1 2 3 101\nattribution teleport verdict anomalous",
        "0.1 none\n0.4 none\nattribution none verdict clean\n",
    ],
)
def test_what_contradicts_itself_or_the_frames_is_not_allowed(text: str) -> None:
    assert not allows(look_grammar(format_times([0.1, 0.4]), DECODER.tag), text)


def test_only_what_was_overruled_counts_as_aided() -> None:
    grammar, text = look_grammar(format_times([0.1]), DECODER.tag), "0.1 none\nattribution none verdict clean"
    tokens = [*TOKENIZER(text, add_special_tokens=False)["input_ids"], TOKENIZER.eos_token_id]
    for wrong in (None, 0, 1, 4, len(tokens) - 1):
        meant = [token if place != wrong else 5 for place, token in enumerate(tokens)]
        answer, place = DECODER.answer(grammar, 100), 0
        while place == 0 or answer.unread:
            read = max(1, len(answer.unread))
            scores = np.zeros(len(TOKENIZER))
            scores[tokens[place + read - 1]] = 1
            answer.extend(meant[place : place + read], scores)
            place += read
        assert answer.tokens == tokens[:-1]
        assert answer.unaided == (wrong is None)
