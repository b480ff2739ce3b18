"""The content of another tool's annotation file, in one form for all formats, before it is matched with the video.

A reader of a format returns `ImportedClip`s; it cuts, renames and judges nothing. What it does not understand it names
in `refused` or `unknown`, so that the clip cannot become a clean one. Out of scope: when and where annotations are
(`locations.py`), the meaning of labels (`label_map.py`), and annotations that do not fit their clip (`convert.py`).
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cac.data.exchange.locations import Location

Verdict = Literal["clean", "anomalous"]
CONTRADICTION = "called both clean and anomalous"


@dataclass(frozen=True)
class ImportedAnnotation:
    """One annotation. `label` is None if the format has no labels.

    A track whose attributes change becomes several annotations of one `track`, which become one anomaly again if they
    get the same leaf.

    Attributes:
        has_no_box: it says when but not where; its anomaly has no boxes.
        is_remark: somebody chose or typed it; if the label map has no line for it, it is refused, and not an error.
        changes: what the reader had to change of it, a sentence each.
    """

    label: str | None
    location: Location
    attributes: Mapping[str, str] = field(default_factory=dict)
    track: Hashable = None
    has_no_box: bool = False
    is_remark: bool = False
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportedClip:
    """One video as the source names it, with its annotations; without annotations and refusals it is a clean clip.

    Attributes:
        video: its name in the source.
        refused: the reason for each annotation that could not be read.
        unknown: the names of parts of the source that the reader does not know and that may concern this clip.
        unusable: why the whole clip cannot be used, if there is a reason.
        verdict: what the source says of the clip as a whole, if it does.
        origin: the file of the source.
        address: where the tool itself finds the video; two addresses are two videos even if their names are alike.
        seconds: of a folder of frames, the frames' times, if the source says them.
    """

    video: str
    annotations: tuple[ImportedAnnotation, ...] = ()
    refused: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    generator: str | None = None
    pair_id: str | None = None
    unusable: str | None = None
    verdict: Verdict | None = None
    origin: str = ""
    address: str | None = None
    seconds: tuple[float, ...] = ()

    @property
    def is_bare(self) -> bool:
        """Whether nothing speaks against a clean clip."""
        return not (self.annotations or self.refused or self.unknown or self.unusable or self.verdict == "anomalous")


def merge_clips(clips: Iterable[ImportedClip]) -> list[ImportedClip]:
    """Return one clip a video, merging entries of the source that name the same video."""
    merged: dict[str, ImportedClip] = {}
    for clip in clips:
        known = merged.get(clip.video)
        merged[clip.video] = clip if known is None else _merge_two(known, clip)
    return list(merged.values())


def _merge_two(a: ImportedClip, b: ImportedClip) -> ImportedClip:
    disagree = a.verdict is not None and b.verdict is not None and a.verdict != b.verdict
    return ImportedClip(
        a.video,
        a.annotations + b.annotations,
        a.refused + b.refused,
        tuple(dict.fromkeys(a.unknown + b.unknown)),
        a.generator or b.generator,
        a.pair_id or b.pair_id,
        a.unusable or b.unusable or (CONTRADICTION if disagree else None),
        a.verdict or b.verdict,
        " + ".join(dict.fromkeys(filter(None, (a.origin, b.origin)))),
        a.address or b.address,
        a.seconds or b.seconds,
    )
