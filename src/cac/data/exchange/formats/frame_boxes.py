"""Boxes that a source gives frame by frame, gathered into tracks: shared by COCO and CVAT's image format.

Boxes with one track id are one track; without it those of one label are, if no frame has two of them. Out of scope: how
a format writes them.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cac.data.exchange.interchange import ImportedAnnotation
from cac.data.exchange.locations import NumberedBoxes, NumberedFrames, Size
from cac.schema.geometry import Box

SEVERAL = "a label with several boxes in one frame, and no track_id to distinguish them"


class _Key(NamedTuple):
    label: str
    track: str | None
    size: Size | None
    attributes: tuple[tuple[str, str], ...]


@dataclass
class FrameBoxes:
    """The boxes of one video by track and attributes, and what is refused of them."""

    boxes: dict[_Key, dict[int, Box]] = field(default_factory=lambda: defaultdict(dict))
    changes: dict[_Key, set[str]] = field(default_factory=lambda: defaultdict(set))
    refused: list[str] = field(default_factory=list)
    hidden: set[tuple[str, str | None]] = field(default_factory=set)  # label and track that a frame says is not shown
    _seen: set[tuple[str, str | None, int]] = field(default_factory=set)
    _mixed: set[tuple[str, str | None]] = field(default_factory=set)  # label and track with two boxes in a frame

    def add(
        self,
        label: str,
        track: str | None,
        frame: tuple[int, Size | None],
        box: Box,
        attributes: Mapping[str, str],
        changes: tuple[str, ...] = (),
    ) -> None:
        """Add a box in a frame, given as its number and its size in the boxes' units."""
        number, size = frame
        if (label, track, number) in self._seen:
            self._mixed.add((label, track))
        self._seen.add((label, track, number))
        key = _Key(label, track, size, tuple(sorted(attributes.items())))
        self.boxes[key][number] = box
        self.changes[key].update(changes)

    def annotations(self, name: Hashable, frames: NumberedFrames) -> list[ImportedAnnotation]:
        """Return the tracks' annotations; those that cannot be told apart are added to `refused`."""
        found = []
        for key, boxes in self.boxes.items():
            if (key.label, key.track) in self._mixed:
                continue
            location = NumberedBoxes(boxes, frames, key.size)
            changes = tuple(sorted(self.changes[key]))
            track = (name, key.label, key.track)
            found.append(ImportedAnnotation(key.label, location, dict(key.attributes), track, changes=changes))
        self.refused += [SEVERAL] * len(self._mixed)
        self.refused += ["a track that is never shown"] * len(self.hidden - {key[:2] for key in self.boxes})
        return found
