"""What the injector calls its pairs, and which video and segment a pair was cut from.

Both are known from the pair's name alone, so that they stay known when clips are exported, reviewed and imported.
"""

import re
from pathlib import Path

_PAIR = re.compile(r"(?P<segment>(?P<video>.+-[0-9a-f]{8})-s\d+)-p\d+")


def name_pair(file: str, digest: str, segment: int, number: int) -> str:
    """Return the id of pair `number` of a segment; `digest` is the SHA-256 of the video's content."""
    return f"{_slug(file)}-{digest[:8]}-s{segment:04d}-p{number}"


def video_of(pair_id: str) -> str | None:
    """Return which video a pair was cut from; None if the injector would not call a pair so."""
    found = _PAIR.fullmatch(pair_id)
    return found["video"] if found else None


def segment_of(pair_id: str) -> str | None:
    """Return which segment of which video a pair was made of; None if the injector would not call a pair so."""
    found = _PAIR.fullmatch(pair_id)
    return found["segment"] if found else None


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", Path(name).with_suffix("").as_posix().lower()).strip("-")[:40] or "video"
