"""Judging a benchmark's videos batch by batch, each content once; what cannot be read or judged is named with a reason.

A batch is bounded in videos and in bytes, so that memory does not grow with the benchmark. Its videos follow the
benchmark's order, so a resumed run makes the batches that an uninterrupted one makes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cac.data.exchange.frame_folder import read_frames
from cac.data.exchange.media import content_digest
from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable
from cac.evaluation.benchmarks.judged_file import Judged, JudgedFile
from cac.io.progress import track
from cac.schema.judgement import Judgement
from cac.video.decode import AnyVideo, Video, VideoInfo, open_video
from cac.video.stream import Limits

_LIMITS = Limits(seconds=300, frames=300 * 60)
_BATCH_BYTES = 2**30  # of frames in memory before they are judged


class Judge(Protocol):
    """What judges videos: a pinned reward model."""

    @property
    def source(self) -> str:
        """The model's version."""

    def judge(self, videos: Sequence[AnyVideo], batch_size: int) -> list[tuple[float, Judgement]]:
        """Return the score in [0, 1] and the judgement of each video, in their order."""


@dataclass(frozen=True)
class _Loaded:
    """An opened video, its path below the folder, and the hash of its content."""

    key: str
    sha256: str
    video: AnyVideo


@dataclass
class Outcome:
    """The videos' judgements, and why there is none, by their paths below the folder."""

    judged: dict[str, Judged] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def judge_videos(judge: Judge, paths: Mapping[str, Path], file: JudgedFile, batch_size: int) -> Outcome:
    """Judge the videos that `file` has no judgement of, and add them to it."""
    outcome, digests = Outcome(), dict[str, str]()
    rejected: dict[str, str] = {}  # content → the model's reason
    waiting: list[_Loaded] = []
    for key, path in track(paths.items(), "Judging videos", len(paths)):
        try:
            digest = digests[key] = content_digest(path)
            if digest not in file.clips and digest not in {one.sha256 for one in waiting}:
                waiting.append(_Loaded(key, digest, _load(path)))
        except (UnusableError, CacError) as error:
            outcome.unreadable[key] = printable(str(error))
        if _is_full(waiting, batch_size):
            rejected |= _judge_batch(judge, waiting, file)
            waiting = []
    rejected |= _judge_batch(judge, waiting, file)
    for key, digest in digests.items():
        if digest in file.clips:
            outcome.judged[key] = file.clips[digest]
        elif digest in rejected:
            outcome.unreadable[key] = rejected[digest]
    return outcome


def _load(path: Path) -> AnyVideo:
    return read_frames(path) if path.is_dir() else open_video(path, _LIMITS, name=path.name)


def _is_full(waiting: Sequence[_Loaded], batch_size: int) -> bool:
    return len(waiting) >= batch_size or sum(_held_bytes(one.video) for one in waiting) >= _BATCH_BYTES


def _held_bytes(video: AnyVideo) -> int:
    return video.frames.nbytes if isinstance(video, Video) else 0


def _judge_batch(judge: Judge, batch: Sequence[_Loaded], file: JudgedFile) -> dict[str, str]:
    """Judge a batch and add it to the file; return the contents that the model rejects, with its reasons."""
    if not batch:
        return {}
    try:
        answers = judge.judge([one.video for one in batch], len(batch))
    except ValueError as error:  # image processors raise it for unusable frames
        if len(batch) == 1:
            return {batch[0].sha256: f"the model cannot process this video: {printable(str(error))}"}
        alone = [_judge_batch(judge, [one], file) for one in batch]
        return {digest: reason for rejected in alone for digest, reason in rejected.items()}
    file.append([_judged(one, answer) for one, answer in zip(batch, answers, strict=True)])
    return {}


def _judged(loaded: _Loaded, answer: tuple[float, Judgement]) -> Judged:
    info = VideoInfo(loaded.video.fps, loaded.video.frame_count, *loaded.video.size)
    return Judged(loaded.key, loaded.sha256, info, *answer)
