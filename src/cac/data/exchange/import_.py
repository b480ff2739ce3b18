"""`cac data import`: foreign annotations and a folder of videos become a dataset, whole or not at all.

A clip whose annotations were all refused is refused, too: it is not known to be clean. A video's split depends only on
its pair id, so that splits stay as they are when the data grows. Left out: reading a format (a file each) and checking
the dataset as a whole (`cac data validate`).
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cac.data.atomic_dataset import check_shares, new_dataset, split_of
from cac.data.exchange import coco, cvat, label_studio, masks, skyra
from cac.data.exchange.convert import Conversion, convert
from cac.data.exchange.interchange import ForeignClip, Unusable, merge_clips
from cac.data.exchange.label_map import LabelMap, VideoFacts, load_label_map, require_all_mapped
from cac.data.exchange.media import VideoFolder, clip_id, take_video
from cac.data.exchange.report import Report, write_report
from cac.errors import CacError, shown
from cac.schema.annotations import CARD_NAME, SCHEMA_VERSION, Clip, write_clips
from cac.schema.taxonomy import TAXONOMY_VERSION
from cac.video.decode import VideoInfo

READERS: dict[str, Callable[[Path], list[ForeignClip]]] = {
    "cvat": cvat.read,
    "label-studio": label_studio.read,
    "coco": coco.read,
    "skyra": skyra.read,
    "masks": masks.read,
}


@dataclass(frozen=True)
class Import:
    """What to import. Shares are of pairs, from 0 to 1; without a label map only leaves' own names are known."""

    format: str
    source: Path
    videos: Path
    labels: Path | None
    out: Path
    val_ratio: float
    test_ratio: float
    rest_is_clean: bool = False  # whether videos that the source does not name are clean clips


def import_dataset(wanted: Import) -> Report:
    """Make the dataset and return what became of everything that came in.

    Raises:
        CacError: the source or the label map cannot be read, a label is not mapped, nothing is left to keep, or `out`
            cannot be written.
    """
    check_shares(wanted.val_ratio, wanted.test_ratio)
    label_map = load_label_map(wanted.labels) if wanted.labels else LabelMap()
    folder = VideoFolder(wanted.videos)
    facts = _facts_of(label_map, folder, wanted)
    clips = READERS[wanted.format](wanted.source)
    require_all_mapped(label_map, (mark for clip in clips for mark in clip.marks), wanted.labels)
    report = Report(wanted.format)
    named = _resolve(clips, folder, report, wanted.rest_is_clean)
    with new_dataset(wanted.out) as place:
        kept = _take_all(named, _Taking(folder, label_map, facts, wanted, place), report)
        if not kept:
            raise CacError(f"no video is left to keep. {_reasons(report)}. Mend the source, or --videos.")
        write_clips(place, sorted(kept, key=lambda clip: clip.clip_id))
        card = json.dumps(_card(wanted), indent=2, sort_keys=True)
        (place / CARD_NAME).write_text(card + "\n", encoding="utf-8")
        write_report(report, place)
    return report


def _facts_of(label_map: LabelMap, folder: VideoFolder, wanted: Import) -> dict[str, VideoFacts]:
    """Return what the label map says of videos, by their paths in the folder."""
    facts = {}
    for name, said in label_map.videos.items():
        try:
            facts[folder.resolve(name)] = said
        except Unusable as error:
            raise CacError(f"{wanted.labels}: videos.{shown(name)}: {error}. Mend the name.") from error
    return facts


def _resolve(clips: list[ForeignClip], folder: VideoFolder, report: Report, rest_is_clean: bool) -> list[ForeignClip]:
    """Return the clips by their videos' paths in the folder, one a video; those without a video go to the report."""
    found = []
    for clip in merge_clips(clips):
        try:
            found.append(replace(clip, video=folder.resolve(clip.video)))
        except Unusable as error:
            _refuse(report, clip, str(error))
    if rest_is_clean and report.refused_videos:
        raise CacError(f"--rest-is-clean needs to know every video that the source names. {_reasons(report)}.")
    named = merge_clips(found)
    rest = sorted(set(folder.videos()) - {clip.video for clip in named})
    if rest_is_clean:
        named += [ForeignClip(video) for video in rest]
    else:
        report.not_named = rest
    report.videos = sum(map(len, report.refused_videos.values())) + len(named)
    # Of files with the same content, the one that something is said of goes first.
    return sorted(named, key=lambda clip: (clip == ForeignClip(clip.video), clip.video))


def _refuse(report: Report, clip: ForeignClip, reason: str) -> None:
    """Count a clip that is left out as a whole, with its annotations."""
    report.refused_videos[reason].append(clip.video)
    report.marks += len(clip.marks) + len(clip.refused)
    report.lost_marks += len(clip.marks) + len(clip.refused)


@dataclass(frozen=True)
class _Taking:
    """What is needed to take a clip into the dataset at `place`."""

    folder: VideoFolder
    label_map: LabelMap
    facts: dict[str, VideoFacts]
    wanted: Import
    place: Path


def _take_all(clips: list[ForeignClip], taking: _Taking, report: Report) -> list[Clip]:
    from rich.console import Console
    from rich.progress import track

    kept: list[Clip] = []
    known: set[str] = set()  # contents: the same video twice would leak between splits
    for clip in track(clips, "Importing clips", console=Console(stderr=True)):
        try:
            digest = _digest(taking.folder.path(clip.video))
            if digest in known:
                raise Unusable("the same content as another video")
            known.add(digest)
            kept.append(_take(clip, taking, report))
        except Unusable as error:
            _refuse(report, clip, str(error))
    return kept


def _take(clip: ForeignClip, taking: _Taking, report: Report) -> Clip:
    """Put one video and its anomalies into the dataset.

    Raises:
        Unusable: its video cannot be used, or none of its annotations can.
    """
    if clip.unusable:
        raise Unusable(clip.unusable)
    name = clip_id(clip.video)
    target = taking.place / "clips" / f"{name}.mp4"
    info, copied = take_video(taking.folder.path(clip.video), target)
    done = convert(clip, info, taking.label_map)
    if done.refused and not done.anomalies:
        target.unlink()
        raise Unusable(f"none of its annotations can be used, so it is not known to be clean: {done.refused[0]}")
    _count(report, clip, done, copied)
    return _clip(name, target, info, clip, taking).model_copy(update={"anomalies": done.anomalies})


def _count(report: Report, clip: ForeignClip, done: Conversion, copied: bool) -> None:
    report.copied += copied
    report.encoded += not copied
    report.clean += not done.anomalies
    report.marks += len(clip.marks) + len(clip.refused)
    report.kept += done.kept
    report.ignored += done.ignored
    report.anomalies += len(done.anomalies)
    report.note(report.refused_marks, clip.video, done.refused)
    report.note(report.changed, clip.video, done.changed)


def _clip(name: str, path: Path, info: VideoInfo, clip: ForeignClip, taking: _Taking) -> Clip:
    facts, wanted = taking.facts.get(clip.video, VideoFacts()), taking.wanted
    pair_id = facts.pair_id or clip.pair_id or name
    return Clip(
        clip_id=name,
        path=f"clips/{path.name}",
        sha256=_digest(path),
        fps=info.fps,
        frame_count=info.frame_count,
        width=info.width,
        height=info.height,
        source=wanted.format,
        generator=facts.generator or clip.generator or "unknown",
        split=split_of(pair_id, wanted.val_ratio, wanted.test_ratio),
        pair_id=pair_id,
        anomalies=(),
    )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Unusable(f"unreadable: {error.strerror}") from error


def _reasons(report: Report) -> str:
    counted = [f"{reason} ({len(where)}, {shown(where[0])})" for reason, where in report.refused_videos.items()]
    return "Refused: " + ("; ".join(counted) or "none, the source names no video")


def _card(wanted: Import) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "taxonomy_version": TAXONOMY_VERSION,
        "source": wanted.format,
        "licence": "unknown",
        "made_by": f"cac data import {wanted.format}",
        "settings": {"val_ratio": wanted.val_ratio, "test_ratio": wanted.test_ratio},
    }
