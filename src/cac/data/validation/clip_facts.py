"""Facts of an annotated dataset, one row a manifest line: what the data checks are asserted on.

Each clip's file is hashed and decoded once and compared with its annotation. A difference is kept as a sentence under
the name of the check that it fails. A check that depends on one that failed (the boxes' frames of a file that does not
decode) finds nothing. Lines are processed one at a time. Out of scope: facts that need several lines
(`facts_table.py`), bounds on the whole dataset and the verdict (`checks.py`), and repairs.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from cac.data.validation.probe import TooLarge, Undecodable, VideoProbe, open_clip, probe_video, sha256_of
from cac.errors import CacError
from cac.io.jsonl import MAX_BYTES, iter_lines
from cac.schema.annotations import MANIFEST_NAME, Clip, parse_clip, window_frames
from cac.schema.taxonomy import Family

# Check → what is expected; a clip's `problems` are keyed by these names.
EXPECTED = {
    "manifest_line": "one valid clip",
    "path": "a path that stays inside the dataset folder",
    "file": "a readable file",
    "resolution": "frames of at most validation.max_side pixels a side",
    "decodable": "a video that decodes",
    "sha256": "the file's SHA-256",
    "fps": "the file's frame rate",
    "constant_rate": "frames at a constant rate",
    "frame_count": "the file's number of frames",
    "size": "the file's width and height, the same in all frames",
    "upright": "frames that no player turns",
    "windows": "0 <= start < end <= duration, with at least one frame inside",
    "boxes_in_frame": "0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1",
    "boxes_in_window": "boxes only in frames of their window",
    "boxes_complete": "a box in every frame of the window, or in none",
    "pair": "one clean and one anomalous clip in each pair",
    "pair_leak": "a pair within one split",
    "file_leak": "a file's content within one split",
    "mp4": "an mp4 file",
    "near_duplicate": "looks that no clip of another split has",
    "annotators": "annotators that agree",
}
# Checks that only the video files can answer.
FILE_CHECKS = frozenset(
    ("file", "resolution", "decodable", "sha256", "fps", "constant_rate", "frame_count", "size", "upright", "mp4")
) | {"near_duplicate"}

_TOLERANCE = 1e-6  # seconds; windows are written with rounded decimals
_FPS_TOLERANCE = 1e-6
_SHOWN = 3
_LONGEST = 1000  # characters of a sentence or a name


@dataclass
class ClipFacts:
    """Facts of one manifest line. `clip` is None if the line is not a valid clip.

    `clip_id`, `path` and `pair_id` are also read from an invalid line where possible, so that findings name the clip.
    """

    line: int
    clip: Clip | None
    clip_id: str | None
    path: str | None
    pair_id: str | None
    file_sha256: str | None = None
    perceptual_hash: bytes | None = None
    problems: dict[str, str] = field(default_factory=dict)

    def row(self) -> dict[str, object]:
        """Return the facts as plain columns; None where unknown or, for a `…_problem`, where nothing is wrong."""
        clip = self.clip
        families = {anomaly.family for anomaly in clip.anomalies} if clip else set()
        return {
            "line": self.line,
            "clip_id": self.clip_id,
            "path": self.path,
            "pair_id": self.pair_id,
            "split": clip.split if clip else None,
            "duration": clip.duration if clip else None,
            "clean": float(clip.is_clean) if clip else None,
            "file_sha256": self.file_sha256,
            "perceptual_hash": self.perceptual_hash,
            **{family.value: float(family in families) if clip else None for family in Family},
            **{f"{check}_problem": self.problems.get(check) for check in EXPECTED},
        }


def iter_facts(dataset: Path, max_side: int | None) -> Iterator[ClipFacts]:
    """Yield the facts of every manifest line, in manifest order, with a progress bar on stderr.

    Args:
        dataset: the dataset's folder.
        max_side: of a frame, in pixels; None opens no file and takes the contents from the annotations.

    Raises:
        CacError: the dataset folder or its manifest is missing, cannot be read, or is empty.
    """
    manifest = dataset / MANIFEST_NAME
    if not manifest.is_file():
        missing = "no manifest at" if dataset.is_dir() else "no dataset folder for"
        raise CacError(f"{missing} {manifest}. Build the sample dataset with `cac data build`, or `dvc pull` yours.")
    facts = None
    for number, line in iter_lines(manifest, "Checking clips"):
        facts = _read_line(line, number)
        if facts.clip is not None:
            _check_clip(facts, facts.clip, dataset, max_side)
        yield facts
    if facts is None:
        raise CacError(f"{manifest} is empty. It needs one clip a line.")


def _read_line(line: bytes | None, number: int) -> ClipFacts:
    where = f"line {number}"
    if line is None:
        problem = f"{where}: longer than {MAX_BYTES >> 20} MiB"
        return ClipFacts(number, None, None, None, None, problems={"manifest_line": problem})
    try:
        clip = parse_clip(line.decode("utf-8"), where)
    except CacError as error:
        problem = str(error)
    except (ValueError, OverflowError, RecursionError) as error:
        problem = f"{where}: {error}"
    else:
        return ClipFacts(number, clip, clip.clip_id, clip.path, clip.pair_id)
    names = _read_names(line)
    return ClipFacts(
        number, None, names["clip_id"], names["path"], names["pair_id"], problems={"manifest_line": truncate(problem)}
    )


def truncate(text: str) -> str:
    """Return a text of limited length without lone surrogates, so that it can be written to a file."""
    whole = text.encode("utf-8", "backslashreplace").decode()
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}… ({len(whole)} characters)"


def _read_names(line: bytes) -> dict[str, str | None]:
    """Return the names that can be read from an invalid line."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    found = values if isinstance(values, dict) else {}
    names = ("clip_id", "path", "pair_id")
    return {key: truncate(found[key]) if isinstance(found.get(key), str) else None for key in names}


def _check_clip(facts: ClipFacts, clip: Clip, dataset: Path, max_side: int | None) -> None:
    named = [(anomaly.leaf, anomaly.window) for anomaly in clip.anomalies if anomaly.window is not None]
    named += [(distractor.name, distractor.window) for distractor in clip.distractors]
    _note(facts, "windows", (_window_problem(name, window, clip.duration) for name, window in named))
    _note(facts, "boxes_in_frame", (_box_problem(box.frame, box.box) for a in clip.anomalies for box in a.boxes))
    path = PurePosixPath(clip.path)
    # By the name alone: DVC may link files to a cache that lies outside the folder.
    if path.is_absolute() or ".." in path.parts:
        facts.problems["path"] = truncate(clip.path)
    elif max_side is None:
        facts.file_sha256 = clip.sha256
        _check_box_frames(facts, clip)
    else:
        probe = _probe_file(facts, clip, dataset / path, max_side)
        if probe is not None:
            _compare_with_file(facts, clip, probe)
            _check_box_frames(facts, clip)


def _note(facts: ClipFacts, check: str, problems: Iterable[str | None]) -> None:
    """Keep the first few problems, if there are any, as one sentence."""
    found = (problem for problem in problems if problem)
    first = list(islice(found, _SHOWN))
    if first:
        rest = sum(1 for _ in found)
        facts.problems[check] = truncate("; ".join(first) + (f"; and {rest} more" if rest else ""))


def _window_problem(name: str, window: tuple[float, float], duration: float) -> str | None:
    start, end = window
    if 0 <= start < end <= duration + _TOLERANCE:
        return None
    return f"{name}: {start:g} to {end:g} s in a clip of {duration:g} s"


def _box_problem(frame: int, box: tuple[float, float, float, float]) -> str | None:
    x1, y1, x2, y2 = box
    if 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1:
        return None
    return f"frame {frame}: ({x1:g}, {y1:g}, {x2:g}, {y2:g})"


def _probe_file(facts: ClipFacts, clip: Clip, path: Path, max_side: int) -> VideoProbe | None:
    """Hash and decode the clip's file; return the probe, or None after noting the problem."""
    try:
        with open_clip(path) as file:
            facts.file_sha256 = sha256_of(file)
            return probe_video(file, clip.frame_count, max_side)
    except TooLarge as error:
        facts.problems["resolution"] = str(error)
    except Undecodable as error:
        facts.problems["decodable"] = truncate(f"{clip.path} {error}")
    except (OSError, ValueError) as error:
        facts.problems["file"] = truncate(f"{clip.path}: {getattr(error, 'strerror', None) or error}")
    return None


def _compare_with_file(facts: ClipFacts, clip: Clip, probe: VideoProbe) -> None:
    info, annotated_size = probe.info, (clip.width, clip.height)
    facts.perceptual_hash = probe.perceptual_hash
    problems = {
        "sha256": facts.file_sha256 != clip.sha256 and f"annotated {clip.sha256}, file {facts.file_sha256}",
        "fps": not abs(clip.fps - info.fps) <= _FPS_TOLERANCE and f"annotated {clip.fps}, file {info.fps}",
        "frame_count": clip.frame_count != info.frame_count
        and f"annotated {clip.frame_count}, file {info.frame_count}",
        "size": annotated_size != (info.width, info.height)
        and f"annotated {clip.width}x{clip.height}, file {info.width}x{info.height}",
        "constant_rate": not probe.is_constant
        and "the time from frame to frame varies; `cac data import` makes it even",
        "upright": probe.quarter_turns > 0
        and f"players turn it by {probe.quarter_turns * 90} degrees; `cac data import` encodes it upright",
        "mp4": "mp4" not in probe.container and f"{probe.container} under the name {clip.path}",
    }
    facts.problems.update({check: truncate(problem) for check, problem in problems.items() if problem})
    if not probe.is_one_size:
        facts.problems.setdefault("size", "the frames are not all of one size")


def _check_box_frames(facts: ClipFacts, clip: Clip) -> None:
    """Compare each anomaly's boxes with the frames of its window, if window, rate and count are valid."""
    if {"windows", "fps", "frame_count"} & facts.problems.keys():
        return
    inside = [window_frames(anomaly, clip.fps, clip.frame_count) for anomaly in clip.anomalies]
    boxed = [{box.frame for box in anomaly.boxes} for anomaly in clip.anomalies]
    together = list(zip(clip.anomalies, inside, boxed, strict=True))
    _note(
        facts,
        "boxes_in_window",
        (f"{a.leaf}: frame {i}" for a, frames, boxes in together for i in sorted(boxes) if i not in frames),
    )
    _note(
        facts,
        "boxes_complete",
        (f"{a.leaf}: frame {i}" for a, frames, boxes in together if boxes for i in frames if i not in boxes),
    )
    _note(
        facts,
        "windows",
        (
            f"{a.leaf}: no frame from {a.window[0]:g} to {a.window[1]:g} s"
            for a, frames, _ in together
            if a.window is not None and not frames
        ),
    )
