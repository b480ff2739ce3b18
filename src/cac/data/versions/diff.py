"""What changed from one version of a dataset to another: clips added, removed, replaced, relabelled.

Clips are matched by their ids; a clip whose id changed counts as removed and added. For a relabelled clip the changes
are listed, and of the boxes only those in frames where they differ. Out of scope: reading versions (`revisions.py`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from cac.errors import CacError
from cac.schema.annotations import Clip

Value = object  # plain: what JSON can hold

_FACTS = ("split", "pair_id", "generator", "source", "path", "fps", "frame_count", "width", "height")


@dataclass(frozen=True)
class Change:
    """A property's values before and after; None where it was missing."""

    before: Value
    after: Value


@dataclass(frozen=True)
class ClipChange:
    """A clip that is in both versions, and its changes, {property: change}."""

    clip_id: str
    changes: dict[str, Change]


@dataclass(frozen=True)
class ListedClip:
    """A clip that only one version has."""

    clip_id: str
    split: str
    leaves: tuple[str, ...]


@dataclass(frozen=True)
class VersionDiff:
    """What changed from `before` to `after`, both named as the user named them; clips are sorted by id.

    Attributes:
        unchanged: how many clips are the same in both.
        added, removed: clips of one version only.
        replaced: clips with another file under the same id, with what else changed.
        relabelled: clips with the same file and another annotation.
    """

    before: str
    after: str
    unchanged: int
    added: tuple[ListedClip, ...]
    removed: tuple[ListedClip, ...]
    replaced: tuple[ClipChange, ...]
    relabelled: tuple[ClipChange, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the diff as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Version:
    """A dataset's clips at some time, and the version's name."""

    name: str
    clips: Mapping[str, Clip]


def make_version(name: str, clips: Iterable[Clip]) -> Version:
    """Return a version of these clips.

    Raises:
        CacError: a clip id occurs twice.
    """
    by_id: dict[str, Clip] = {}
    twice = []
    for clip in clips:
        if by_id.setdefault(clip.clip_id, clip) is not clip:
            twice.append(clip.clip_id)
    if twice:
        raise CacError(
            f"{name}: clips are matched by their ids, but these ids occur more than once: {', '.join(twice)}."
        )
    return Version(name, by_id)


def diff_versions(before: Version, after: Version) -> VersionDiff:
    """Return what changed from one version to the other."""
    old, new = before.clips, after.clips
    both = [(clip_id, diff_clips(old[clip_id], new[clip_id])) for clip_id in sorted(old.keys() & new.keys())]
    changed = [ClipChange(clip_id, changes) for clip_id, changes in both if changes]
    return VersionDiff(
        before=before.name,
        after=after.name,
        unchanged=len(both) - len(changed),
        added=tuple(_listed(new[clip_id]) for clip_id in sorted(new.keys() - old.keys())),
        removed=tuple(_listed(old[clip_id]) for clip_id in sorted(old.keys() - new.keys())),
        replaced=tuple(one for one in changed if "sha256" in one.changes),
        relabelled=tuple(one for one in changed if "sha256" not in one.changes),
    )


def _listed(clip: Clip) -> ListedClip:
    return ListedClip(clip.clip_id, clip.split, tuple(dict.fromkeys(anomaly.leaf for anomaly in clip.anomalies)))


def diff_clips(old: Clip, new: Clip) -> dict[str, Change]:
    """Return a clip's changes, {property: change}; the order of anomalies and boxes does not matter."""
    pairs: dict[str, tuple[Value, Value]] = {
        "sha256": (old.sha256, new.sha256),
        "leaf": (_leaves(old), _leaves(new)),
        "windows": (_windows(old), _windows(new)),
        "boxes": _boxes_that_differ(old, new),
        "saliency": (_saliencies(old), _saliencies(new)),
        "distractors": (_distractors(old), _distractors(new)),
        **{name: (getattr(old, name), getattr(new, name)) for name in _FACTS},
    }
    changes = {name: Change(*values) for name, values in pairs.items() if values[0] != values[1]}
    if not changes and _anomalies(old) != _anomalies(new):  # the same parts in another combination
        changes["anomalies"] = Change(_anomalies(old), _anomalies(new))
    return changes


def _leaves(clip: Clip) -> list[str]:
    return sorted(anomaly.leaf for anomaly in clip.anomalies)


def _windows(clip: Clip) -> list[list[float]]:
    return sorted(list(anomaly.window or ()) for anomaly in clip.anomalies)


def _saliencies(clip: Clip) -> list[float]:
    return sorted(anomaly.saliency for anomaly in clip.anomalies)


def _distractors(clip: Clip) -> list[list[str | float]]:
    return sorted([distractor.name, *distractor.window] for distractor in clip.distractors)


def _anomalies(clip: Clip) -> list[str]:
    return sorted(
        anomaly.model_copy(update={"boxes": tuple(sorted(anomaly.boxes, key=lambda b: (b.frame, b.box)))})
        .model_dump_json() for anomaly in clip.anomalies
    )  # fmt: skip


def _boxes_that_differ(old: Clip, new: Clip) -> tuple[Value, Value]:
    """Return {frame: boxes} of both clips, only of the frames in which the boxes differ."""
    before, after = _boxes(old), _boxes(new)
    frames = [f for f in sorted(before.keys() | after.keys()) if before.get(f) != after.get(f)]
    return {f: before.get(f, []) for f in frames}, {f: after.get(f, []) for f in frames}


def _boxes(clip: Clip) -> dict[int, list[list[float]]]:
    found: dict[int, list[list[float]]] = {}
    for anomaly in clip.anomalies:
        for box in anomaly.boxes:
            found.setdefault(box.frame, []).append(list(box.box))
    return {frame: sorted(boxes) for frame, boxes in found.items()}


def count_changes(changed: Iterable[ClipChange]) -> dict[str, int]:
    """Return in how many clips each property changed, most frequent first."""
    return dict(Counter(name for one in changed for name in one.changes).most_common())
