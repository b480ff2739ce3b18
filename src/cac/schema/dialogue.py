"""The two-turn dialogue: what the model is shown and asked, and how its answers are written and read.

Turn 1 (scan) shows coarse frames of the whole clip; the answer says of each whether it is suspicious and calls the
tool `concentrate` with time windows. Turn 2 (look) shows dense, larger frames of those windows as the tool's response;
the answer gives the evidence frame by frame, then in one line the attribution and, last, the verdict:

    0.5 none
    0.6 seen 23 40 55 60
    attribution colour_swap verdict anomalous

Each word decides one thing: a frame's line whether and where, the attribution what. A look names one leaf.
Single-frame training uses turn 2's grammar with one frame. The baseline of `frames.looks: 0` asks one question instead;
its answer is `seen yes` or `seen no`. Everything that builds or reads a dialogue (SFT data, GRPO,
evaluation, the registered model) uses this module, so they cannot disagree. Out of scope: tokenisation (the processor's
chat template does it) and the choice of frames (`cac.video`).
"""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from cac.schema.geometry import Box, Window, merge_windows
from cac.schema.taxonomy import LEAVES, Family, family_of

# 2: the attribution names the leaf alone; 3: frames say "seen", one line closes; 4: stamps that would be the same get
# more decimals. A model of version 3 never saw such frames told apart, and understands all others as before.
DIALOGUE_VERSION = "4"
READABLE_VERSIONS = ("3", DIALOGUE_VERSION)
COORDINATE_SCALE = 100  # Answers give coordinates as whole percents of width and height.
SHORTEST_WINDOW = 0.1  # seconds: the step of the times in answers
ANYWHERE: Box = (0.0, 0.0, 1.0, 1.0)  # stands in a true answer for a box that nobody annotated; it has no labels

SCAN_REQUEST = (
    "Scan the whole clip for anomalies. Say of each frame whether it is clear or odd, "
    "then call concentrate with the suspicious time windows.\nwhat changes then when"
)
LOOK_REQUEST = (
    "Look closely for anomalies. Say of each frame where one is seen, or none, then the attribution, then the verdict."
    "\nwhat changes"
)
# The words of the request and of its answers are in the nano's vocabulary; its generic tasks end in the same answers.
YES_NO_REQUEST = "is the verdict anomalous, yes, no\nwhat changes"

Verdict = Literal["clean", "anomalous"]
Span = tuple[int, int]  # of characters, end exclusive
Message = dict[str, Any]

CONCENTRATE_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "concentrate",
        "description": "Show dense frames of the given time windows.",
        "parameters": {
            "type": "object",
            "properties": {
                "windows": {
                    "type": "array",
                    "items": {"type": "array", "items": {"type": "number"}},
                    "description": "Start and end of each window in seconds.",
                }
            },
            "required": ["windows"],
        },
    },
}


@dataclass(frozen=True)
class Finding:
    """What the model says of one frame: nothing (`box` None), or the box in [0, 1] in which it sees an anomaly."""

    time: float
    box: Box | None = None


@dataclass(frozen=True)
class Scan:
    """Turn 1's answer: a flag for each coarse frame, and the windows to concentrate on (seconds; empty: none)."""

    odd: tuple[tuple[float, bool], ...]
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Look:
    """Turn 2's answer. `family` and `leaf` are None on a clean verdict."""

    findings: tuple[Finding, ...]
    family: Family | None
    leaf: str | None
    verdict: Verdict


def format_time(seconds: float, decimals: int = 1) -> str:
    """Write a time in seconds, with one decimal unless told otherwise."""
    return f"{seconds:.{decimals}f}"


def format_times(times: Sequence[float]) -> list[str]:
    """Write the times of frames as their stamps and answers do: all with as few decimals, 1 to 3, as tell them apart.

    >>> format_times([0.125, 0.25]), format_times([1.0, 1.042])
    (['0.1', '0.2'], ['1.00', '1.04'])
    """
    for decimals in range(1, _DECIMALS):
        stamps = [format_time(time, decimals) for time in times]
        if len(set(stamps)) == len(set(times)):
            return stamps
    return [format_time(time, _DECIMALS) for time in times]


def frame_blocks(frames: Sequence[Any], times: Sequence[float]) -> list[dict[str, Any]]:
    """Return content blocks: for each frame its time stamp, then the image (PIL)."""
    blocks: list[dict[str, Any]] = []
    for frame, stamp in zip(frames, format_times(times), strict=True):
        blocks.append({"type": "text", "text": f"<{stamp}s>"})
        blocks.append({"type": "image", "image": frame})
    return blocks


def shown_stamps(text: str) -> list[str]:
    """Return the stamps of the frames that a rendered prompt shows, in their order."""
    return _STAMP.findall(text)


def scan_prompt(frames: Sequence[Any], times: Sequence[float]) -> list[Message]:
    """Return the user's message of turn 1."""
    return [{"role": "user", "content": [*frame_blocks(frames, times), {"type": "text", "text": SCAN_REQUEST}]}]


def look_content(frames: Sequence[Any], times: Sequence[float]) -> list[dict[str, Any]]:
    """Return what the `concentrate` tool responds: the dense frames, then turn 2's request."""
    return [*frame_blocks(frames, times), {"type": "text", "text": LOOK_REQUEST}]


def look_prompt(frames: Sequence[Any], times: Sequence[float]) -> list[Message]:
    """Return the user's message that asks for a look without a scan before it (single-frame training, one-look)."""
    return [{"role": "user", "content": look_content(frames, times)}]


def yes_no_prompt(frames: Sequence[Any], times: Sequence[float]) -> list[Message]:
    """Return the user's message that asks only whether anything is wrong."""
    return [{"role": "user", "content": [*frame_blocks(frames, times), {"type": "text", "text": YES_NO_REQUEST}]}]


def yes_no_reply(verdict: Verdict) -> Message:
    """Return the assistant's answer to `yes_no_prompt`; `parse_yes_no` reads it back."""
    return verbatim_reply("seen no" if verdict == "clean" else "seen yes")


def scan_reply(scan: Scan) -> Message:
    """Return the assistant's message of turn 1."""
    stamps = format_times([time for time, _ in scan.odd])
    flags = "\n".join(f"{stamp} {'odd' if odd else 'clear'}" for stamp, (_, odd) in zip(stamps, scan.odd, strict=True))
    windows = [list(window) for window in written_windows(scan)]
    call = {"type": "function", "function": {"name": "concentrate", "arguments": {"windows": windows}}}
    return {"role": "assistant", "content": [{"type": "text", "text": flags}], "tool_calls": [call]}


def written_windows(scan: Scan) -> list[Window]:
    """Return the windows of a scan as the tool call says them; the second look must show these, not the exact ones."""
    return [_written_window(start, end) for start, end in scan.windows]


def _written_window(start: float, end: float) -> Window:
    """Round a window to tenths of a second; one that rounding would empty keeps a tenth, as the grammar demands."""
    first, last = round(start, 1), round(end, 1)
    return (first, last if first < last else round(first + SHORTEST_WINDOW, 1))


def verbatim_reply(text: str) -> Message:
    """Return an answer of the assistant's as it was generated, so that its tokens stay the same."""
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def tool_reply(content: list[dict[str, Any]]) -> Message:
    """Return the tool's message that carries the dense frames."""
    return {"role": "tool", "name": "concentrate", "content": content}


def look_reply(look: Look) -> Message:
    """Return the assistant's message of turn 2."""
    return {"role": "assistant", "content": [{"type": "text", "text": write_look(look)}]}


def write_look(look: Look) -> str:
    """Write turn 2's answer in the grammar above; `parse_look` reads it back."""
    stamps = format_times([finding.time for finding in look.findings])
    lines = [_write_finding(*one) for one in zip(stamps, look.findings, strict=True)]
    lines.append(f"attribution {look.leaf or 'none'} verdict {look.verdict}")
    return "\n".join(lines)


def _write_finding(stamp: str, finding: Finding) -> str:
    if finding.box is None:
        return f"{stamp} none"
    numbers = " ".join(str(round(value * COORDINATE_SCALE)) for value in finding.box)
    return f"{stamp} seen {numbers}"


_DECIMALS = 3  # of the longest stamps
_TIME = rf"(\d{{1,6}}\.\d{{1,{_DECIMALS}}})"
_STAMP = re.compile(f"<{_TIME}s>", re.ASCII)
_FINDING = re.compile(_TIME + r" (?:none|seen (\d{1,3}) (\d{1,3}) (\d{1,3}) (\d{1,3}))", re.ASCII)
_CLOSING = re.compile(r"attribution (?:none|([a-z_]+)) verdict (clean|anomalous)")
_FLAG = re.compile(_TIME + r" (clear|odd)", re.ASCII)


def parse_look(text: str) -> Look | None:
    """Read turn 2's answer, strictly; None if anything of it breaks the grammar or contradicts itself.

    The verdict must be anomalous exactly if a frame has a box and exactly if a leaf is given as attribution.
    Frames must be in order of time. Corners of a box may come in any order, because no grammar can hold a model to one.
    """
    *lines, last = text.strip().split("\n")
    findings, closing = [_parse_finding(line) for line in lines], _CLOSING.fullmatch(last)
    if closing is None or any(finding is None for finding in findings) or not _have_one_form(lines):
        return None
    leaf, verdict = closing.groups()
    if (leaf is None) != (verdict == "clean") or (leaf is not None and leaf not in LEAVES):
        return None
    found = tuple(finding for finding in findings if finding is not None)
    if any(finding.box for finding in found) != (leaf is not None):
        return None
    if any(later.time < earlier.time for earlier, later in pairwise(found)):
        return None
    return Look(found, family_of(leaf) if leaf else None, leaf, "clean" if verdict == "clean" else "anomalous")


def parse_yes_no(text: str) -> Look | None:
    """Read the answer to `yes_no_prompt`, strictly, as a look with a verdict alone; None if it is neither."""
    verdicts: dict[str, Verdict] = {"seen no": "clean", "seen yes": "anomalous"}
    verdict = verdicts.get(text.strip())
    return Look((), None, None, verdict) if verdict else None


def _parse_finding(line: str) -> Finding | None:
    match = _FINDING.fullmatch(line)
    if match is None:
        return None
    if match[2] is None:
        return Finding(float(match[1]))
    x1, y1, x2, y2 = (int(number) / COORDINATE_SCALE for number in match.groups()[1:])
    if max(x1, y1, x2, y2) > 1:
        return None
    return Finding(float(match[1]), (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))


def _have_one_form(lines: Sequence[str]) -> bool:
    """Whether the times at the start of these lines have one number of decimals."""
    return len({len(line.split(" ")[0].partition(".")[2]) for line in lines}) <= 1


def coordinate_spans(text: str) -> list[Span | None]:
    """Return for each line of turn 2's answer where its four numbers are in the text; None for a line without any."""
    spans: list[Span | None] = []
    start = 0
    for line in text.split("\n"):
        match = _FINDING.fullmatch(line)
        spans.append((start + match.start(2), start + match.end(5)) if match and match[2] else None)
        start += len(line) + 1
    return spans


def parse_scan(content: str, tool_calls: Sequence[Message] | None) -> Scan | None:
    """Read turn 1's answer from its text and parsed tool calls; None unless there is one valid `concentrate` call."""
    if not tool_calls or len(tool_calls) != 1:
        return None
    function = tool_calls[0].get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), dict):
        return None
    windows = parse_windows(function["arguments"].get("windows"))
    flags = [_FLAG.fullmatch(line) for line in content.strip().split("\n")]
    if function.get("name") != "concentrate" or windows is None or any(flag is None for flag in flags):
        return None
    if not _have_one_form([flag[1] for flag in flags if flag]):
        return None
    return Scan(tuple((float(flag[1]), flag[2] == "odd") for flag in flags if flag), tuple(windows))


def parse_windows(value: object) -> list[Window] | None:
    """Read the tool's argument: a list of pairs of seconds, sorted and merged; None if it is anything else.

    The two ends of a window may come in any order. A window of no length gets a tenth of a second, as in
    `written_windows`.
    """
    if not isinstance(value, list):
        return None
    windows: list[Window] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(_is_second(t) for t in pair):
            return None
        start, end = sorted(map(float, pair))
        windows.append((start, end if start < end else round(start + SHORTEST_WINDOW, 6)))
    return merge_windows(windows)


def _is_second(value: object) -> bool:
    """Whether a value of a tool call is a time: a number, not negative, not NaN, and within what a float holds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max


_TOOL_CALL = re.compile(r"(.*?)\n?<tool_call>\n(.*)\n</tool_call>", re.DOTALL)


def split_tool_call(text: str) -> tuple[str, list[Message] | None]:
    """Split generated text into its content and its one tool call; None if there is none or it is no JSON."""
    match = _TOOL_CALL.fullmatch(text.strip())
    if match is None:
        return text, None
    try:
        function = json.loads(match[2])
    except (ValueError, RecursionError):  # besides bad JSON: numbers too long, nesting too deep
        return text, None
    return match[1], [{"type": "function", "function": function}] if isinstance(function, dict) else None
