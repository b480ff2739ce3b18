"""Facts of an annotated dataset, one row a manifest line: what the data checks are asserted on.

Each clip's file is hashed and decoded once and compared with its annotation; what disagrees is kept as a sentence under
the name of the check it fails. A check that cannot be judged because an earlier one failed (the boxes' frames of a file
that does not decode) finds nothing. Left out on purpose: bounds on the dataset as a whole and the verdict
(`data/checks.py`), and every repair: nothing here is written or guessed.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cac.annotations import MANIFEST_NAME, Anomaly, Clip, parse_clip
from cac.errors import CacError
from cac.taxonomy import Family
from cac.video import VideoInfo, probe

# Check → what is expected; a clip's `problems` are keyed by these names.
EXPECTED = {
    "manifest_line": "one valid clip",
    "path": "a path that stays inside the dataset folder",
    "file": "a readable file",
    "decodable": "a video that decodes",
    "sha256": "the file's SHA-256",
    "fps": "the file's frame rate",
    "frame_count": "the file's number of frames",
    "size": "the file's width and height",
    "windows": "0 <= start < end <= duration, with at least one frame inside",
    "boxes_in_frame": "0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1",
    "boxes_in_window": "boxes only in frames of their window",
    "boxes_complete": "a box in every frame of the window",
    "pair": "one clean and one anomalous clip in each pair",
    "pair_leak": "a pair within one split",
    "file_leak": "a file's content within one split",
}

# Seconds; windows are written with rounded decimals. The frame samplers allow the same.
_TOLERANCE = 1e-6
_FPS_TOLERANCE = 1e-6
_SHOWN = 3


@dataclass
class ClipFacts:
    """What is known of one manifest line. `clip` is None if the line is no valid clip.

    `clip_id`, `path` and `pair_id` are read from an invalid line too where they can be, so that findings name the clip.
    """

    line: int
    clip: Clip | None
    clip_id: str | None
    path: str | None
    pair_id: str | None
    file_sha256: str | None = None
    problems: dict[str, str] = field(default_factory=dict)

    def row(self) -> dict[str, object]:
        """Return the facts as plain columns; None where unknown or, for a `…_problem`, where nothing is wrong."""
        clip = self.clip
        families = {anomaly.family for anomaly in clip.anomalies} if clip else set()
        return {
            "line": self.line,
            "clip_id": self.clip_id,
            "path": self.path,
            "split": clip.split if clip else None,
            "duration": clip.duration if clip else None,
            "clean": float(clip.is_clean) if clip else None,
            "file_sha256": self.file_sha256,
            **{family.value: float(family in families) if clip else None for family in Family},
            **{f"{check}_problem": self.problems.get(check) for check in EXPECTED},
        }


def gather_facts(dataset: Path) -> list[ClipFacts]:
    """Return the facts of every manifest line, in manifest order, with a progress bar on stderr.

    Raises:
        CacError: the dataset folder or its manifest is missing, cannot be read, or is empty.
    """
    from rich.console import Console
    from rich.progress import track

    facts = read_manifest(dataset)
    for one in track(facts, "Checking clips", console=Console(stderr=True)):
        if one.clip is not None:
            _check_clip(one, one.clip, dataset)
    _check_pairs(facts)
    _check_leaks(facts)
    return facts


def read_manifest(dataset: Path) -> list[ClipFacts]:
    """Return one `ClipFacts` for each manifest line; a line that is no valid clip becomes a finding.

    Raises:
        CacError: as `gather_facts`.
    """
    manifest = dataset / MANIFEST_NAME
    if not manifest.is_file():
        missing = "no manifest at" if dataset.is_dir() else "no dataset folder for"
        raise CacError(f"{missing} {manifest}. Build the sample dataset with `cac data build`, or `dvc pull` yours.")
    try:
        lines = manifest.read_bytes().splitlines()
    except OSError as error:
        raise CacError(f"{manifest} cannot be read: {error.strerror}. Check its permissions.") from error
    if not lines:
        raise CacError(f"{manifest} is empty. It needs one clip a line.")
    return [_read_line(line, number) for number, line in enumerate(lines, start=1)]


def window_frames(anomaly: Anomaly, fps: float, frame_count: int) -> list[int]:
    """Return the indices of the frames inside an anomaly's window; frame i is at i / fps seconds, end exclusive."""
    start, end = anomaly.window
    return [i for i in range(frame_count) if start - _TOLERANCE <= i / fps < end - _TOLERANCE]


def _read_line(line: bytes, number: int) -> ClipFacts:
    where = f"line {number}"
    try:
        clip = parse_clip(line.decode("utf-8"), where)
    except CacError as error:
        problem = str(error)
    except (ValueError, RecursionError) as error:
        problem = f"{where}: {error}"
    else:
        return ClipFacts(number, clip, clip.clip_id, clip.path, clip.pair_id)
    names = _salvage(line)
    return ClipFacts(
        number, None, names["clip_id"], names["path"], names["pair_id"], problems={"manifest_line": problem}
    )


def _salvage(line: bytes) -> dict[str, str | None]:
    """Return the names an invalid line still tells."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    found = values if isinstance(values, dict) else {}
    return {key: found[key] if isinstance(found.get(key), str) else None for key in ("clip_id", "path", "pair_id")}


def _check_clip(facts: ClipFacts, clip: Clip, dataset: Path) -> None:
    _note(facts, "windows", (_window_problem(anomaly, clip.duration) for anomaly in clip.anomalies))
    _note(facts, "boxes_in_frame", (_box_problem(box.frame, box.box) for a in clip.anomalies for box in a.boxes))
    info = _check_file(facts, clip, dataset)
    if info is not None:
        _compare(facts, clip, info)
        _check_box_frames(facts, clip)


def _note(facts: ClipFacts, check: str, problems: Iterable[str | None]) -> None:
    """Keep the first few problems, if any, as one sentence."""
    found = [problem for problem in problems if problem]
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        facts.problems[check] = "; ".join(found[:_SHOWN]) + more


def _window_problem(anomaly: Anomaly, duration: float) -> str | None:
    start, end = anomaly.window
    if 0 <= start < end <= duration + _TOLERANCE:
        return None
    return f"{anomaly.leaf}: {start:g} to {end:g} s in a clip of {duration:g} s"


def _box_problem(frame: int, box: tuple[float, float, float, float]) -> str | None:
    x1, y1, x2, y2 = box
    if 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1:
        return None
    return f"frame {frame}: ({x1:g}, {y1:g}, {x2:g}, {y2:g})"


def _check_file(facts: ClipFacts, clip: Clip, dataset: Path) -> VideoInfo | None:
    """Hash and decode the clip's file; return what it says of itself, or None with the problem noted."""
    relative = PurePosixPath(clip.path)
    # By the name alone: DVC may link files to a cache that lies outside the folder.
    if relative.is_absolute() or ".." in relative.parts:
        facts.problems["path"] = clip.path
        return None
    path = dataset / relative
    try:
        with path.open("rb") as file:
            facts.file_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        facts.problems["file"] = f"{clip.path}: {getattr(error, 'strerror', None) or error}"
        return None
    try:
        return probe(path)
    except (CacError, ValueError) as error:
        # The folder may have another name elsewhere; findings are the same to the byte.
        facts.problems["decodable"] = str(error).replace(str(path), clip.path)
        return None


def _compare(facts: ClipFacts, clip: Clip, info: VideoInfo) -> None:
    if facts.file_sha256 != clip.sha256:
        facts.problems["sha256"] = f"annotated {clip.sha256}, file {facts.file_sha256}"
    if not abs(clip.fps - info.fps) <= _FPS_TOLERANCE:
        facts.problems["fps"] = f"annotated {clip.fps}, file {info.fps}"
    if clip.frame_count != info.frame_count:
        facts.problems["frame_count"] = f"annotated {clip.frame_count}, file {info.frame_count}"
    if (clip.width, clip.height) != (info.width, info.height):
        facts.problems["size"] = f"annotated {clip.width}x{clip.height}, file {info.width}x{info.height}"


def _check_box_frames(facts: ClipFacts, clip: Clip) -> None:
    """Hold each anomaly's boxes against the frames of its window, if window, rate and count can be trusted."""
    if {"windows", "fps", "frame_count"} & facts.problems.keys():
        return
    outside, without, empty = [], [], []
    for anomaly in clip.anomalies:
        inside = set(window_frames(anomaly, clip.fps, clip.frame_count))
        boxed = {box.frame for box in anomaly.boxes}
        outside += [f"{anomaly.leaf}: frame {frame}" for frame in sorted(boxed - inside)]
        without += [f"{anomaly.leaf}: frame {frame}" for frame in sorted(inside - boxed)]
        if not inside:
            empty.append(f"{anomaly.leaf}: no frame from {anomaly.window[0]:g} to {anomaly.window[1]:g} s")
    _note(facts, "boxes_in_window", outside)
    _note(facts, "boxes_complete", without)
    _note(facts, "windows", empty)


def _check_pairs(facts: list[ClipFacts]) -> None:
    for pair_id, members in _groups(facts, lambda one: one.pair_id).items():
        clips = [one.clip for one in members]
        clean = sum(clip.is_clean for clip in clips if clip)
        # A pair with an invalid line is not judged: its other clip is not at fault.
        if None in clips or (clean, len(clips)) == (1, 2):
            continue
        for one in members:
            one.problems["pair"] = f"pair {pair_id!r}: {clean} clean and {len(clips) - clean} anomalous"


def _check_leaks(facts: list[ClipFacts]) -> None:
    for members in _groups(facts, lambda one: one.pair_id).values():
        _note_leak(members, "pair_leak")
    for members in _groups(facts, lambda one: one.file_sha256).values():
        _note_leak(members, "file_leak")


def _note_leak(members: list[ClipFacts], check: str) -> None:
    placed = [f"{one.clip_id} in {one.clip.split}" for one in members if one.clip]
    if len({one.clip.split for one in members if one.clip}) > 1:
        for one in members:
            _note(one, check, placed)


def _groups(facts: list[ClipFacts], key: Callable[[ClipFacts], str | None]) -> dict[str, list[ClipFacts]]:
    groups: dict[str, list[ClipFacts]] = defaultdict(list)
    for one in facts:
        name = key(one)
        if name is not None:
            groups[name].append(one)
    return groups
