"""The two turns: what is written is read back, and anything outside the grammar is refused, never guessed at."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.schema.dialogue import (
    LOOK_REQUEST,
    SCAN_REQUEST,
    Finding,
    Look,
    Scan,
    look_content,
    look_prompt,
    look_reply,
    parse_look,
    parse_scan,
    parse_windows,
    scan_prompt,
    scan_reply,
    split_tool_call,
    tool_reply,
    write_look,
)
from cac.schema.geometry import merge_windows
from cac.schema.taxonomy import LEAVES, family_of

ANSWER = """0.5 none
0.6 seen 23 40 55 60
attribution colour_swap verdict anomalous"""

few = settings(max_examples=50, deadline=None)
shares = st.floats(0, 1)
seconds = st.integers(0, 600).map(lambda tenths: tenths / 10)
boxes = st.tuples(shares, shares, shares, shares).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)
findings = st.builds(Finding, seconds) | st.builds(Finding, seconds, boxes)


@st.composite
def looks(draw: st.DrawFn) -> Look:
    found = tuple(sorted(draw(st.lists(findings, max_size=6)), key=lambda finding: finding.time))
    leaf = draw(st.sampled_from(sorted(LEAVES))) if any(finding.box for finding in found) else None
    return Look(found, family_of(leaf) if leaf else None, leaf, "anomalous" if leaf else "clean")


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    flags = draw(st.lists(st.tuples(seconds, st.booleans()), min_size=1, max_size=8))
    starts = draw(st.lists(st.floats(0, 60), max_size=4))
    lengths = draw(st.lists(st.floats(0.001, 5), min_size=len(starts), max_size=len(starts)))
    windows = merge_windows([(start, start + length) for start, length in zip(starts, lengths, strict=True)])
    return Scan(tuple(flags), tuple(windows))


def as_generated(message: dict[str, Any]) -> str:
    """The text a model writes for a message, as Qwen3-VL's chat template renders it."""
    call = message["tool_calls"][0]["function"]
    return f"{message['content'][0]['text']}\n<tool_call>\n{json.dumps(call)}\n</tool_call>"


@few
@given(looks())
def test_a_written_look_is_read_back_with_coordinates_within_half_a_percent(look: Look) -> None:
    read = parse_look(write_look(look))

    assert read is not None
    assert (read.family, read.leaf, read.verdict) == (look.family, look.leaf, look.verdict)
    assert [f.time for f in read.findings] == [f.time for f in look.findings]
    for a, b in zip(read.findings, look.findings, strict=True):
        assert (a.box is None) == (b.box is None)
        assert a.box is None or a.box == pytest.approx(b.box, abs=0.005 + 1e-9)


@few
@given(scans())
def test_a_written_scan_is_read_back_with_windows_within_a_tenth_of_a_second(scan: Scan) -> None:
    text, calls = split_tool_call(as_generated(scan_reply(scan)))
    read = parse_scan(text, calls)

    assert read is not None
    assert read.odd == scan.odd
    assert len(read.windows) <= len(scan.windows)
    for start, end in scan.windows:
        assert any(first - 0.0501 <= start and end <= last + 0.0501 for first, last in read.windows)
    total = sum(last - first for first, last in read.windows)
    assert total <= sum(end - start for start, end in scan.windows) + 0.11 * len(scan.windows)


def test_a_look_is_written_in_the_documented_grammar() -> None:
    found = (Finding(0.5), Finding(0.6, (0.234, 0.4, 0.551, 0.6)))
    anomalous = Look(found, family_of("colour_swap"), "colour_swap", "anomalous")

    assert write_look(anomalous) == ANSWER
    assert write_look(Look((Finding(1.0),), None, None, "clean")) == "1.0 none\nattribution none verdict clean"
    assert look_reply(anomalous) == {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}


def test_a_scan_is_written_in_the_documented_grammar() -> None:
    reply = scan_reply(Scan(((0.0, False), (0.5, True)), ((0.375, 1.25),)))

    assert reply["content"] == [{"type": "text", "text": "0.0 clear\n0.5 odd"}]
    call = {"type": "function", "function": {"name": "concentrate", "arguments": {"windows": [[0.4, 1.2]]}}}
    assert reply["tool_calls"] == [call]


def test_a_window_too_short_for_one_decimal_stays_a_window() -> None:
    reply = scan_reply(Scan(((0.5, True),), ((0.51, 0.54), (2.0, 2.5))))

    assert reply["tool_calls"][0]["function"]["arguments"]["windows"] == [[0.5, 0.6], [2.0, 2.5]]


def test_frames_go_in_with_their_time_stamps_and_the_request_last() -> None:
    stamped = [
        {"type": "text", "text": "<0.0s>"},
        {"type": "image", "image": "first"},
        {"type": "text", "text": "<1.3s>"},
        {"type": "image", "image": "second"},
    ]
    content = look_content(["first", "second"], [0.0, 1.25001])

    assert content == [*stamped, {"type": "text", "text": LOOK_REQUEST}]
    assert look_prompt(["first", "second"], [0.0, 1.25001]) == [{"role": "user", "content": content}]
    assert tool_reply(content) == {"role": "tool", "name": "concentrate", "content": content}
    scan = scan_prompt(["first", "second"], [0.0, 1.25001])
    assert scan == [{"role": "user", "content": [*stamped, {"type": "text", "text": SCAN_REQUEST}]}]


def test_more_frames_than_times_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        look_content(["first", "second"], [0.0])


def test_space_around_an_answer_is_no_matter() -> None:
    assert parse_look(f"\n{ANSWER}\n ") == parse_look(ANSWER) is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ANSWER, ""),
        (ANSWER, "verdict anomalous"),
        (ANSWER, "\n".join(reversed(ANSWER.split("\n")))),
        ("attribution colour_swap verdict anomalous", "verdict anomalous"),
        ("attribution colour_swap verdict", "attribution colour_swap\nverdict"),
        ("0.5 none", "I see nothing.\n0.5 none"),
        ("verdict anomalous", "verdict anomalous."),
        ("verdict anomalous", "verdict anomalous\nThat is all."),
        ("verdict anomalous", "verdict odd"),
        ("verdict anomalous", "verdict clean"),
        ("attribution colour_swap", "attribution none"),
        ("attribution colour_swap", "attribution temporal_inconsistency colour_swap"),
        ("attribution colour_swap", "attribution temporal_inconsistency"),
        ("attribution colour_swap", "attribution"),
        ("attribution colour_swap", "attribution warp"),
        ("0.6 seen", "0.6 colour_swap"),
        ("23 40 55 60", "23 40 101 60"),
        ("23 40 55 60", "23 40 55 101"),
        ("23 40 55 60", "-1 40 55 60"),
        ("23 40 55 60", "2.3 40 55 60"),
        ("23 40 55 60", "23 40 55"),
        ("23 40 55 60", "23 40 55 60 70"),
        ("23 40", "23  40"),
        ("0.5 none", "0.5s none"),
        ("0.5 none", "0.55 none"),
        ("0.5 none", "5 none"),
        ("0.5 none", "٠.٥ none"),
        ("0.5 none", "9" * 400 + ".0 none"),
        ("0.5 none", "0.5 none "),
        ("0.5 none", "0.5 clear"),
        ("0.5 none", "0.5 none\n"),
        ("0.5 none", "0.7 none"),
        ("0.6 seen 23 40 55 60", "0.6 none"),
        ("attribution colour_swap verdict anomalous", "attribution none verdict clean"),
    ],
)
def test_a_look_outside_the_grammar_is_refused(old: str, new: str) -> None:
    spoilt = ANSWER.replace(old, new, 1)

    assert spoilt != ANSWER
    assert parse_look(spoilt) is None


CALL: dict[str, Any] = {"name": "concentrate", "arguments": {"windows": [[0.5, 1.0]]}}
GENERATED = f"0.0 clear\n0.5 odd\n<tool_call>\n{json.dumps(CALL)}\n</tool_call>"


def test_a_generated_scan_is_read() -> None:
    expected = Scan(((0.0, False), (0.5, True)), ((0.5, 1.0),))

    assert parse_scan(*split_tool_call(GENERATED)) == expected
    assert parse_scan(*split_tool_call(f"\n{GENERATED}\n")) == expected


@pytest.mark.parametrize(
    "text",
    [
        "0.0 clear\n0.5 odd",
        GENERATED.replace("</tool_call>", ""),
        f"{GENERATED}\n<tool_call>\n{json.dumps(CALL)}\n</tool_call>",
        f"{GENERATED}\nDone.",
        GENERATED.replace("0.0 clear", "All fine.\n0.0 clear"),
        GENERATED.replace("clear", "maybe"),
        GENERATED.replace("0.0 clear\n0.5 odd\n", ""),
        GENERATED.replace("concentrate", "zoom"),
        GENERATED.replace("windows", "spans"),
        GENERATED.replace('"arguments"', '"parameters"'),
        GENERATED.replace('{"windows": [[0.5, 1.0]]}', "[[0.5, 1.0]]"),
        GENERATED.replace('{"windows": [[0.5, 1.0]]}', '"windows"'),
        GENERATED.replace('{"windows": [[0.5, 1.0]]}', "null"),
        GENERATED.replace(json.dumps(CALL), "{'name': 'concentrate'}"),
        GENERATED.replace(json.dumps(CALL), '"concentrate"'),
        GENERATED.replace(json.dumps(CALL), "[" * 100_000),
        GENERATED.replace("0.5, 1.0", "0.5, " + "9" * 5000),
        GENERATED.replace("0.5, 1.0", "0.5, " + "9" * 400),
        GENERATED.replace("0.5, 1.0", "0.5, Infinity"),
        GENERATED.replace("0.5, 1.0", "NaN, 1.0"),
    ],
)
def test_a_scan_outside_the_grammar_is_refused(text: str) -> None:
    assert text != GENERATED
    assert parse_scan(*split_tool_call(text)) is None


def test_a_scan_with_two_calls_or_a_malformed_one_is_refused() -> None:
    call = {"type": "function", "function": CALL}

    assert parse_scan("0.0 odd", [call]) is not None
    assert parse_scan("0.0 odd", [call, call]) is None
    assert parse_scan("0.0 odd", []) is None
    assert parse_scan("0.0 odd", [{"type": "function", "function": "concentrate"}]) is None


@pytest.mark.parametrize("corners", ["55 40 23 60", "23 60 55 40", "55 60 23 40"])
def test_the_corners_of_a_box_may_come_in_any_order(corners: str) -> None:
    assert parse_look(ANSWER.replace("23 40 55 60", corners)) == parse_look(ANSWER)


def test_the_ends_of_a_window_may_come_in_any_order() -> None:
    assert parse_windows([[1.0, 0.5]]) == [(0.5, 1.0)]
    assert parse_windows([[0.5, 1.0], [2.0, 1.0]]) == [(0.5, 2.0)]
    assert parse_windows([[0.5, 0.5], [0.7, 0.7]]) == [(0.5, 0.6), (0.7, 0.8)], "a window lasts a tenth of a second"


def test_windows_are_merged_and_may_be_none() -> None:
    assert parse_windows([[2, 3], [0.5, 1.0], [0.9, 1.5]]) == [(0.5, 1.5), (2.0, 3.0)]
    assert parse_windows([]) == []


@pytest.mark.parametrize(
    "value",
    [
        None,
        "0.5 1.0",
        {"start": 0.5},
        [0.5, 1.0],
        [[0.5]],
        [[0.5, 1.0, 1.5]],
        [["0.5", "1.0"]],
        [[None, 1.0]],
        [[False, True]],
        [[0.5, True]],
        [[float("nan"), 1.0]],
        [[0.5, float("nan")]],
        [[0.5, float("inf")]],
        [[0.5, 10**400]],
        [[-0.5, 1.0]],
    ],
)
def test_anything_but_windows_is_refused(value: object) -> None:
    assert parse_windows(value) is None
