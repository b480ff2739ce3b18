"""Which clips belong together: clips of one pair, of equal content, or cut from one video by the injector.

Linked clips form a group over any number of steps. A group is never split: not between train and test, not between
supervised and reinforcement learning, and not by a bootstrap, whose samples are independent groups.
"""

import re
from collections.abc import Sequence

from cac.schema.annotations import Clip

_INJECTED_PAIR = re.compile(r"(?P<segment>(?P<video>.+-[0-9a-f]{8})-s\d+)-p\d+")


def group_clips(clips: Sequence[Clip]) -> list[list[int]]:
    """Return the indices in `clips` of each group's clips, in order."""
    from networkx.utils import UnionFind

    linked = UnionFind()
    for clip in clips:
        linked.union(*_links(clip))
    groups: dict[object, list[int]] = {}
    for index, clip in enumerate(clips):
        groups.setdefault(linked[_links(clip)[0]], []).append(index)
    return list(groups.values())


def group_key(clip: Clip) -> str:
    """Return the name that a clip's group goes by: the video its pair was cut from, or else its pair.

    Clips of equal content link groups of several names.
    """
    return video_of(clip.pair_id) or clip.pair_id


def _links(clip: Clip) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the two keys that link a clip to the other clips of its group."""
    return ("key", group_key(clip)), ("content", clip.sha256)


def video_of(pair_id: str) -> str | None:
    """Return the video that a pair was cut from; None if the id is not the injector's."""
    found = _INJECTED_PAIR.fullmatch(pair_id)
    return found["video"] if found else None


def segment_of(pair_id: str) -> str | None:
    """Return the video and segment that a pair was made of; None if the id is not the injector's."""
    found = _INJECTED_PAIR.fullmatch(pair_id)
    return found["segment"] if found else None
