"""`cac data import`: make a dataset of another tool's annotations and a folder of videos, completely or not at all.

A clip is refused if all its annotations were, or if its source has a part that no reader knows, because it is then not
known to be clean. A video's split depends only on its pair id, so that splits stay the same when the data grows. Out of
scope: reading a format (one module each), and checking the dataset as a whole (`cac data validate`).
"""

import json
import random
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from cac.data.atomic_dataset import check_new_dataset, check_ratios, new_dataset, split_of
from cac.data.exchange.convert import Conversion, convert
from cac.data.exchange.interchange import CONTRADICTION, ImportedClip, merge_clips
from cac.data.exchange.label_map import LabelMap, VideoFacts, load_label_map, require_all_mapped
from cac.data.exchange.media import VideoFolder, clip_id, content_digest, copy_or_encode
from cac.data.exchange.readers import read_source
from cac.data.exchange.report import ImportRefusedError, Report, write_report
from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable
from cac.io.progress import track
from cac.schema.annotations import CARD_NAME, SCHEMA_VERSION, Clip, write_clips
from cac.schema.taxonomy import TAXONOMY_VERSION
from cac.video.decode import VideoInfo
from cac.video.sheets import dataset_sheet

SHEET_NAME = "import_sheet.png"
_SHEET_CLIPS = 10
_SHEET_SEED = 7
_MIXED = "different videos of one name: give them names of their own"
_REST = "(not named)"  # the source of the videos that --rest-is-clean adds


@dataclass(frozen=True)
class ImportRequest:
    """What to import. Ratios are of pairs, from 0 to 1; without a label map, labels must be names of leaves.

    Attributes:
        rest_is_clean: import videos that the source does not name as clean clips.
        strict: refuse the whole import if anything in it is refused.
        first_frame: the number of a video's first frame, 0 or 1, where the source leaves it open.
        frame_rate: frames per second of folders of frames that have no times.
        overwrite: replace the dataset at `out`, if there is one.
    """

    format: str
    source: Path
    videos: Path
    labels: Path | None
    out: Path
    val_ratio: float
    test_ratio: float
    rest_is_clean: bool = False
    strict: bool = False
    first_frame: int | None = None
    frame_rate: float | None = None
    overwrite: bool = False


def import_dataset(request: ImportRequest) -> Report:
    """Make the dataset and return the report on all videos and annotations.

    Raises:
        CacError: the source or the label map cannot be read, a label is not mapped, or `out` cannot be written.
        ImportRefusedError: no video can be used, or with `strict` something is refused.
    """
    check_new_dataset(request.out, overwrite=request.overwrite)
    check_ratios(request.val_ratio, request.test_ratio)
    if request.frame_rate is not None and not 0 < request.frame_rate <= 1000:
        raise CacError(f"--frame-rate {request.frame_rate:g} is not above 0 and at most 1000 frames per second.")
    label_map = load_label_map(request.labels) if request.labels else LabelMap()
    folder = VideoFolder(request.videos)
    facts = _facts_of(label_map, folder, request)
    clips = read_source(request.format, request.source, request.first_frame)
    require_all_mapped(label_map, (annotation for clip in clips for annotation in clip.annotations), request.labels)
    report = Report(request.format)
    named = _resolve(clips, folder, report, request.rest_is_clean)
    with new_dataset(request.out, overwrite=request.overwrite) as dataset:
        kept = _import_clips(named, _ImportContext(folder, label_map, facts, request, dataset), report)
        _check_kept(kept, request, report)
        kept.sort(key=lambda clip: clip.clip_id)
        write_clips(dataset, kept)
        card = json.dumps(_card(request), indent=2, sort_keys=True)
        (dataset / CARD_NAME).write_text(card + "\n", encoding="utf-8")
        write_report(report, dataset)
        dataset_sheet(dataset, _drawn(kept), dataset / SHEET_NAME)
    return report


def _check_kept(kept: list[Clip], request: ImportRequest, report: Report) -> None:
    if not kept:
        message = f"no video can be used. {_reasons(report)}. Correct the source, or --videos."
        raise ImportRefusedError(message, report)
    if request.strict and report.refusals:
        message = f"--strict: {report.refusals} videos or annotations were refused, so nothing was written."
        raise ImportRefusedError(f"{message} Correct them, or import without --strict.", report)


def _drawn(clips: list[Clip]) -> list[Clip]:
    """Return ten clips, or all if there are fewer; the same ones each time."""
    chosen = random.Random(_SHEET_SEED).sample(range(len(clips)), min(_SHEET_CLIPS, len(clips)))
    return [clips[number] for number in sorted(chosen)]


def _facts_of(label_map: LabelMap, folder: VideoFolder, request: ImportRequest) -> dict[str, VideoFacts]:
    """Return the label map's facts of videos, by their paths in the folder."""
    facts = {}
    for name, said in label_map.videos.items():
        try:
            facts[folder.resolve(name)[0]] = said
        except UnusableError as error:
            raise CacError(f"{request.labels}: videos.{printable(name)}: {error}. Correct the name.") from error
    return facts


def _resolve(clips: list[ImportedClip], folder: VideoFolder, report: Report, rest_is_clean: bool) -> list[ImportedClip]:
    """Return the clips by their videos' paths in the folder, one a video; those without a video go to the report."""
    found: list[ImportedClip] = []
    called: dict[str, set[str]] = defaultdict(set)  # path → what the source calls this video
    addresses: dict[str, set[str | None]] = defaultdict(set)
    for clip in clips:
        addresses[clip.video].add(clip.address)
    for clip in merge_clips(clips):
        try:
            key, exact = folder.resolve(clip.video)
        except UnusableError as error:
            _refuse(report, clip, str(error))
            continue
        found.append(replace(clip, video=key))
        called[key] |= {address or (key if exact else clip.video) for address in addresses[clip.video]}
    if rest_is_clean and report.refused_videos:
        raise CacError(f"--rest-is-clean needs to know every video that the source names. {_reasons(report)}.")
    named = [replace(clip, unusable=_MIXED) if len(called[clip.video]) > 1 else clip for clip in merge_clips(found)]
    rest = sorted(set(folder.videos()) - called.keys())
    if rest_is_clean:
        named += [ImportedClip(video, origin=_REST) for video in rest]
    else:
        report.not_named = rest
    report.videos = sum(map(len, report.refused_videos.values())) + len(named)
    # Of files with the same content, an annotated one goes first.
    return sorted(named, key=lambda clip: (clip.is_bare, clip.video))


def _refuse(report: Report, clip: ImportedClip, reason: str) -> None:
    """Count a refused clip and its annotations."""
    report.refused_videos[reason].append(clip.video)
    report.count_refused(clip.origin, reason)
    report.annotations += len(clip.annotations) + len(clip.refused)
    report.annotations_in_refused_videos += len(clip.annotations) + len(clip.refused)


@dataclass(frozen=True)
class _ImportContext:
    """What importing a clip into the dataset at `folder` needs."""

    videos: VideoFolder
    label_map: LabelMap
    facts: dict[str, VideoFacts]
    request: ImportRequest
    folder: Path


def _import_clips(clips: list[ImportedClip], context: _ImportContext, report: Report) -> list[Clip]:
    kept: list[Clip] = []
    known: set[str] = set()  # contents: the same video twice would leak between splits
    for clip in track(clips, "Importing clips"):
        try:
            digest = content_digest(context.videos.path(clip.video))
            if digest in known:
                raise UnusableError("the same content as another video")
            known.add(digest)
            kept.append(_import_clip(clip, context, report))
        except UnusableError as error:
            _refuse(report, clip, str(error))
    return kept


def _import_clip(clip: ImportedClip, context: _ImportContext, report: Report) -> Clip:
    """Import one video and its anomalies into the dataset.

    Raises:
        UnusableError: its video or all of its annotations cannot be used.
    """
    if clip.unusable or (clip.verdict == "clean" and clip.annotations):
        raise UnusableError(clip.unusable or CONTRADICTION)
    name = clip_id(clip.video)
    target = context.folder / "clips" / f"{name}.mp4"
    source = context.videos.path(clip.video)
    info, copied = copy_or_encode(source, target, clip.seconds, context.request.frame_rate)
    done = convert(clip, info, context.label_map)
    doubt = None if done.anomalies else _doubt(clip, done)
    if doubt:
        target.unlink()
        raise UnusableError(doubt)
    _count(report, clip, done, copied)
    return _clip(name, target, info, clip, context).model_copy(update={"anomalies": done.anomalies})


def _doubt(clip: ImportedClip, done: Conversion) -> str | None:
    """Return why a clip without anomalies is not known to be clean, if there is a reason."""
    if done.refused:
        return f"none of its annotations can be used, so it is not known to be clean: {done.refused[0]}"
    if clip.verdict == "anomalous":
        left = "all that it names is ignored" if done.ignored else "nothing says what is wrong and where"
        return f"called fake, but {left}"
    return None


def _count(report: Report, clip: ImportedClip, done: Conversion, copied: bool) -> None:
    report.copied += copied
    report.encoded += not copied
    report.clean += not done.anomalies
    report.count_kept(clip.origin, not done.anomalies)
    report.annotations += len(clip.annotations) + len(clip.refused)
    report.kept += done.kept
    report.ignored += done.ignored
    report.anomalies += len(done.anomalies)
    report.note(report.refused_annotations, clip.video, done.refused)
    report.note(report.changed, clip.video, done.changed)


def _clip(name: str, path: Path, info: VideoInfo, clip: ImportedClip, context: _ImportContext) -> Clip:
    facts, request = context.facts.get(clip.video, VideoFacts()), context.request
    pair_id = facts.pair_id or clip.pair_id or name
    return Clip(
        clip_id=name,
        path=f"clips/{path.name}",
        sha256=content_digest(path),
        fps=info.fps,
        frame_count=info.frame_count,
        width=info.width,
        height=info.height,
        source=request.format,
        generator=facts.generator or clip.generator or "unknown",
        split=split_of(pair_id, request.val_ratio, request.test_ratio),
        pair_id=pair_id,
        anomalies=(),
    )


def _reasons(report: Report) -> str:
    counted = [f"{reason} ({len(where)}, {printable(where[0])})" for reason, where in report.refused_videos.items()]
    return "Refused: " + ("; ".join(counted) or "none, the source names no video")


def _card(request: ImportRequest) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "taxonomy_version": TAXONOMY_VERSION,
        "source": request.format,
        "licence": "unknown",
        "made_by": f"cac data import {request.format}",
        "settings": {"val_ratio": request.val_ratio, "test_ratio": request.test_ratio},
    }
