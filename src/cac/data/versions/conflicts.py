"""What keeps datasets from being merged, and which of their clips are the same clip.

Two clips are the same if the file's content and the annotation are the same: anomalies, distractors, frame rate, frames
and size. If only id, pair, origin or split differ, `merge.py` resolves it. Out of scope: resolving contradictions,
which takes a person.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cac.data.versions.groups import groups_across_splits
from cac.errors import CacError
from cac.schema.annotations import Clip, FrameBox


@dataclass(frozen=True)
class SourcedClip:
    """A clip and the dataset it comes from, named as the user named it."""

    source: str
    clip: Clip

    @property
    def name(self) -> str:
        """The clip's id and its dataset."""
        return f"{self.clip.clip_id} ({self.source})"


@dataclass(frozen=True)
class Contradiction:
    """Clips that cannot be in one dataset, and why; the clips of one side agree with one another."""

    problem: str
    sides: tuple[tuple[SourcedClip, ...], ...]


def check_no_contradictions(found: Sequence[SourcedClip]) -> None:
    """Check that no clip contradicts another.

    Raises:
        CacError: clips share an id or a path but not their content, or their content but not their annotation; the
            message lists them all.
    """
    lines = [f"{one.problem}: {', '.join(side[0].name for side in one.sides)}" for one in contradictions(found)]
    if lines:
        raise CacError(
            f"{len(lines)} clips contradict each other, so nothing was merged. Correct or remove one of each:"
            + "".join(f"\n  {line}" for line in lines)
        )


def contradictions(found: Sequence[SourcedClip]) -> list[Contradiction]:
    """Return clips that share an id or a path but not their content, or their content but not their annotation."""
    return [
        *_contradictions(found, lambda clip: clip.clip_id, lambda clip: clip.sha256, "the same id, other content"),
        *_contradictions(found, lambda clip: clip.sha256, annotation_key, "the same content, annotated differently"),
        *_contradictions(
            _first_per_id(found), lambda clip: str(PurePosixPath(clip.path)), lambda clip: clip.sha256, "the same path"
        ),
    ]


def annotation_key(clip: Clip) -> tuple[object, ...]:
    """Return a clip's annotation as a comparable value; the order of its parts does not matter."""
    in_order = (one.model_copy(update={"boxes": tuple(sorted(one.boxes, key=_frame_of))}) for one in clip.anomalies)
    anomalies, distractors = (
        tuple(sorted(one.model_dump_json() for one in said)) for said in (in_order, clip.distractors)
    )
    return (clip.fps, clip.frame_count, clip.width, clip.height, anomalies, distractors)


def _frame_of(box: FrameBox) -> int:
    return box.frame


def _contradictions(
    found: Iterable[SourcedClip], key: Callable[[Clip], str], value: Callable[[Clip], object], problem: str
) -> list[Contradiction]:
    """Return a contradiction for each key under which clips have more than one value."""
    by_key: dict[str, dict[object, list[SourcedClip]]] = defaultdict(dict)
    for one in found:
        by_key[key(one.clip)].setdefault(value(one.clip), []).append(one)
    return [Contradiction(problem, tuple(map(tuple, sides.values()))) for sides in by_key.values() if len(sides) > 1]


def _first_per_id(found: Iterable[SourcedClip]) -> list[SourcedClip]:
    """Return the first clip of each id, because one id with two contents is reported as another problem."""
    first: dict[str, SourcedClip] = {}
    for one in found:
        first.setdefault(one.clip.clip_id, one)
    return list(first.values())


def check_groups_intact(found: Sequence[SourcedClip]) -> None:
    """Check that no group of linked clips is in two splits.

    Raises:
        CacError: some are; the message lists them all.
    """
    lines = groups_across_splits([one.clip for one in found], [one.name for one in found])
    if lines:
        raise CacError(
            f"{len(lines)} groups of linked clips are in more than one split, so nothing was merged. "
            "Give --val-ratio and --test-ratio to split the merged dataset again. The groups:"
            + "".join(f"\n  {line}" for line in lines)
        )
