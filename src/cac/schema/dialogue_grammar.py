"""The grammar of both answers, written for the engine that keeps a model to it (llguidance's variant of Lark).

A grammar is made for the frames that were shown: an answer speaks of these, of each once and in their order, and its
closing line says what the lines before it have said. So `dialogue.py` reads every complete answer; it sorts corners and
window ends, whose order no grammar of this kind can demand. How tokens are held to it is
`model/constrained_decoding.py`'s.
"""

import json
from collections.abc import Callable, Sequence

from cac.schema.taxonomy import LEAVES

_NUMBER = 'NUMBER: /100|[1-9]?[0-9]/\nbox: " " NUMBER " " NUMBER " " NUMBER " " NUMBER'
_SECONDS = "SECONDS: /(0|[1-9][0-9]{0,5})\\.[0-9]/"


def scan_grammar(stamps: Sequence[str], tag: Callable[[str], str]) -> str:
    """Return the grammar of turn 1's answer to frames with these stamps.

    Args:
        stamps: the times of the coarse frames, as `dialogue.format_times` writes them.
        tag: how the grammar names `<tool_call>` and `</tool_call>`, which are tokens of their own.
    """
    flags = " ".join(f'"{stamp} " FLAG "\\n"' for stamp in stamps)
    call = json.dumps({"name": "concentrate", "arguments": {"windows": []}})
    opening, closing = json.dumps(f"\n{call[:-3]}"), json.dumps(f"{call[-3:]}\n")
    return "\n".join(
        (
            f"start: {flags} {tag('<tool_call>')} {opening} windows {closing} {tag('</tool_call>')}",
            'windows: "" | window (", " window)*',
            'window: "[" SECONDS ", " SECONDS "]"',
            'FLAG: "clear" | "odd"',
            _SECONDS,
        )
    )


def yes_no_grammar(tag: Callable[[str], str]) -> str:
    """Return the grammar of the answer to a yes/no question, a choice between two tokens.

    Args:
        tag: how the grammar names " yes" and " no" as tokens.
    """
    return f'start: "seen" ({tag(" no")} | {tag(" yes")})'


def look_grammar(stamps: Sequence[str], tag: Callable[[str], str]) -> str:
    """Return the grammar of turn 2's answer to frames with these stamps.

    A rule for each frame and each of two states: nothing seen so far, or something seen. The choice between "none" and
    "seen" is between two tokens, so that its probability is that of a word and not of one of its spellings.

    Args:
        stamps: the times of the dense frames, as `dialogue.format_times` writes them.
        tag: how the grammar names " none" and " seen" as tokens.
    """
    rules, none, seen = ["start: clear0"], tag(" none"), tag(" seen")
    for index, written in enumerate(stamps):
        stamp, after = json.dumps(written), index + 1
        found = f'{stamp} {seen} box "\\n" seen{after}'
        rules.append(f'clear{index}: {stamp} {none} "\\n" clear{after} | {found}')
        if index > 0:
            rules.append(f'seen{index}: {stamp} {none} "\\n" seen{after} | {found}')
    leaves = " | ".join(f'"{leaf}"' for leaf in LEAVES)
    rules.append(f'clear{len(stamps)}: "attribution none verdict clean"')
    rules.append(f'seen{len(stamps)}: "attribution " LEAF " verdict anomalous"')
    return "\n".join((*rules, f"LEAF: {leaves}", _NUMBER))
