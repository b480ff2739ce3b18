"""From a folder of ordinary videos to a dataset of annotated pairs, and a report of what could not be used.

A broken file never ends the batch. Splits are assigned to videos, not segments, so that no scene is in two of them.
Out of scope: making one pair (`pair.py`), reading files (`normalise.py`).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from cac.data.atomic_dataset import new_dataset
from cac.data.injection.motion import measure_motion
from cac.data.injection.normalise import NormalisedVideo
from cac.data.injection.pair import MIN_SEVERITY, DefectRequest, Pair, make_pair, name_pair
from cac.data.injection.region import NoRegionError
from cac.data.injection.report import REPORT_NAME, FileReport, InjectionReport, Refusal
from cac.data.injection.segments import MIN_FRAMES, cut_segments
from cac.data.injection.settings import InjectionSettings
from cac.errors import CacError
from cac.io.progress import track
from cac.schema.annotations import CARD_NAME, SCHEMA_VERSION, Clip, Split, write_clips
from cac.schema.taxonomy import TAXONOMY_VERSION, Family, family_of
from cac.video.encode import encode

MIN_SIDE = 48  # pixels of a frame's shorter side
_CROP_RATIO = (0.8, 0.95)  # of each side, in a crop that is not the whole frame
MIN_SOURCES = 3  # videos, fewer cannot be assigned to three splits


@dataclass
class _Batch:
    """State of the batch, shared by all files."""

    scratch: Path
    settings: InjectionSettings
    report: InjectionReport = field(default_factory=InjectionReport)
    clips: list[Clip] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)  # content's SHA-256 → file
    tried: int = 0


@dataclass(frozen=True)
class _Source:
    """A file of the folder: its report and the SHA-256 of its content."""

    report: FileReport
    digest: str


class NoPairError(CacError):
    """No pair could be made of a folder; `report` has the reason of each file."""

    def __init__(self, folder: Path, report: InjectionReport) -> None:
        super().__init__(f"no pair could be made of {folder}; the table says why. Give it other videos.")
        self.report = report


def inject_folder(folder: Path, out: Path, settings: InjectionSettings, *, overwrite: bool = False) -> InjectionReport:
    """Make pairs of every video of a folder and write them as a dataset to `out`; `overwrite` replaces one there.

    Raises:
        NoPairError: no file could be used; `out` stays as it was.
        CacError: there is no file in the folder, or `out` cannot be written or holds what may not be replaced.
    """
    files = list_files(folder, out)
    cv2.setNumThreads(1)  # the same order of sums on every machine
    with new_dataset(out, overwrite=overwrite) as scratch:
        batch = _Batch(scratch, settings)
        for path in track(files, "Injecting defects"):
            _inject_file(path, str(path.relative_to(folder)), batch)
        if not batch.clips:
            raise NoPairError(folder, batch.report)
        _finish(batch)
    return batch.report


def list_files(folder: Path, out: Path) -> list[Path]:
    """Return the files below a folder, sorted, except hidden ones and those in `out`.

    Raises:
        CacError: the folder is missing or holds no file.
    """
    if not folder.is_dir():
        raise CacError(f"no folder at {folder}. Name a folder of ordinary videos.")
    inside = out.resolve()
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and inside not in path.resolve().parents
    ]
    if not files:
        raise CacError(f"{folder} holds no file. Put the videos there, or in folders below it.")
    return files


def _inject_file(path: Path, name: str, batch: _Batch) -> None:
    """Make the pairs of one file; an error becomes its reason in the report."""
    one = FileReport(name)
    batch.report.files.append(one)
    video = NormalisedVideo(path, batch.settings.size)
    try:
        digest = _digest(path)
        if digest in batch.seen:
            raise CacError(f"the same content as {batch.seen[digest]}")
        batch.seen[digest] = name
        for frames in _cut(video, batch.settings.segment_seconds):
            _inject_segment(frames, video.fps, _Source(one, digest), batch)
            one.segments += 1
    except CacError as error:
        one.reason = str(error).replace(str(path), name)  # the same for every location of the folder
    except OSError as error:
        one.reason = f"cannot be read: {error.strerror}"
    one.notes = list(video.notes)
    if one.pairs == 0 and one.reason is None:
        one.reason = "no segment of it could be used"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cut(video: NormalisedVideo, seconds: float) -> Iterator[np.ndarray]:
    """Yield the segments of a video; the rate is known only once the first frame is read."""
    frames = video.frames()
    first = next(frames)
    if min(first.shape[:2]) < MIN_SIDE:
        raise CacError(
            f"{video.path} is too small: {first.shape[1]}x{first.shape[0]}, at least {MIN_SIDE} is required."
        )
    yield from cut_segments(chain([first], frames), max(MIN_FRAMES, round(seconds * video.fps)))


def _inject_segment(frames: np.ndarray, fps: float, source: _Source, batch: _Batch) -> None:
    one = source.report
    if len(frames) < MIN_FRAMES:
        reason = f"shorter than {MIN_FRAMES} frames"
        batch.report.refusals.append(Refusal(one.file, one.segments, None, reason))
        return
    motion = measure_motion(frames)
    for number in range(batch.settings.pairs_per_clip):
        leaf = _leaf_of(batch.tried, batch.settings.leaves)
        batch.tried += 1
        rng = np.random.default_rng([batch.settings.seed, int(source.digest[:12], 16), one.segments, number])
        request = DefectRequest(leaf, round(float(rng.uniform(MIN_SEVERITY, 1)), 3))
        crop = draw_crop(frames.shape[1:3], number, rng)
        try:
            pair = make_pair(frames[:, *crop], motion.cropped(crop), fps, request, rng)
        except NoRegionError as error:
            batch.report.refusals.append(Refusal(one.file, one.segments, leaf, str(error)))
            continue
        pair_id = name_pair(one.file, source.digest, one.segments, number)
        batch.clips += _write_pair(batch.scratch, pair_id, pair, (one.file, fps))
        one.pairs += 1


def draw_crop(size: tuple[int, int], number: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return the part of the frame that pair `number` of a segment shows, as slices of its rows and columns.

    The first shows all of it, the others different parts: a clean clip that occurs twice could be memorised.
    """
    if number == 0:
        return slice(None), slice(None)
    sides = []
    for side in size:
        kept = max(MIN_SIDE, int(side * rng.uniform(*_CROP_RATIO)) // 2 * 2)
        start = int(rng.integers(side - kept + 1))
        sides.append(slice(start, start + kept))
    return sides[0], sides[1]


def _leaf_of(number: int, leaves: tuple[str, ...]) -> str:
    """Return the leaf of attempt `number`, cycling through the families, and through the leaves of each."""
    families = [family for family in Family if any(family_of(leaf) == family for leaf in leaves)]
    candidates = [leaf for leaf in leaves if family_of(leaf) == families[number % len(families)]]
    return candidates[number // len(families) % len(candidates)]


def _write_pair(scratch: Path, pair_id: str, pair: Pair, source: tuple[str, float]) -> list[Clip]:
    name, fps = source
    clips = []
    for kind, frames, anomalies in (("anomalous", pair.defective, (pair.anomaly,)), ("clean", pair.clean, ())):
        path = scratch / "clips" / f"{pair_id}-{kind}.mp4"
        encode(path, frames, fps)
        clip = Clip(
            clip_id=f"{pair_id}-{kind}", path=f"clips/{path.name}", sha256=_digest(path), fps=fps,
            frame_count=len(frames), width=frames.shape[2], height=frames.shape[1], source=name,
            generator="cac.data.injection", split="train", pair_id=pair_id, anomalies=anomalies,
        )  # fmt: skip
        clips.append(clip)
    return clips


def _finish(batch: _Batch) -> None:
    """Assign splits to the videos and write manifest, card and report."""
    splits = assign_splits_to_videos([clip.source for clip in batch.clips], batch.settings)
    clips = [clip.model_copy(update={"split": splits[clip.source]}) for clip in batch.clips]
    report = batch.report
    report.leaves = dict(Counter(clip.anomalies[0].leaf for clip in clips if not clip.is_clean))
    report.notes += split_notes(clips)
    write_clips(batch.scratch, sorted(clips, key=lambda clip: clip.clip_id))
    _write(batch.scratch / CARD_NAME, _card(batch))
    _write(batch.scratch / REPORT_NAME, report.to_dict())


def split_notes(clips: Sequence[Clip]) -> list[str]:
    """Return notes on splits that are uneven because there are few videos."""
    if len({clip.source for clip in clips}) < MIN_SOURCES:
        return [f"fewer than {MIN_SOURCES} videos could be used, so all pairs are in train"]
    pairs, trained = len(clips) // 2, sum(clip.split == "train" for clip in clips) // 2
    if trained >= pairs / 2:
        return []
    return [
        f"train has {trained} of {pairs} pairs, because splits are assigned to whole videos: try another --seed, "
        "or give more videos"
    ]


def assign_splits_to_videos(sources: list[str], settings: InjectionSettings) -> dict[str, Split]:
    """Return the split of each source video: by ratios of the videos, in the order of a hash of their names.

    A split with a ratio above 0 gets at least one video; with fewer than three videos all are in train.
    """
    order = sorted(set(sources), key=lambda name: hashlib.sha256(f"{settings.seed}-{name}".encode()).digest())
    splits: dict[str, Split] = dict.fromkeys(order, "train")
    if len(order) < MIN_SOURCES:
        return splits
    test, val = (
        max(1, round(share * len(order))) if share else 0 for share in (settings.test_ratio, settings.val_ratio)
    )
    splits |= dict.fromkeys(order[:test], "test")
    splits |= dict.fromkeys(order[test : test + val], "val")
    return splits


def _card(batch: _Batch) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "taxonomy_version": TAXONOMY_VERSION,
        "source": "defects injected into ordinary videos",
        "licence": "that of the videos",
        "made_by": "cac data inject",
        "settings": asdict(batch.settings),
        "sources": {name: digest for digest, name in batch.seen.items()},
    }


def _write(path: Path, values: dict[str, object]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
