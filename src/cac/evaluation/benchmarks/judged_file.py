"""The file of judged clips: one JSON line a clip, appended as they are judged, so that an interrupted run resumes.

A clip is known by the SHA-256 of its content: renaming it changes nothing, replacing it has it judged again. Each line
has the model's version and the benchmark; a file of another one is refused. A line that a kill cut off is removed.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cac.errors import CacError
from cac.schema.judgement import Judgement
from cac.video.decode import VideoInfo

_REMEDY = "Choose another --out, or remove this file to judge every clip again."


@dataclass(frozen=True)
class Judged:
    """A judged clip: `score` in [0, 1] is the calibrated probability that it is clean."""

    video: str
    sha256: str
    info: VideoInfo
    score: float
    judgement: Judgement


class JudgedFile:
    """The judged clips of one benchmark by one model, by the hash of their content."""

    def __init__(self, path: Path, file: BinaryIO, benchmark: str, model: str) -> None:
        """Read what there is; see `open_judged`."""
        self.path = path
        self.clips: dict[str, Judged] = {}
        self._file = file
        self._origin = {"benchmark": benchmark, "model": model}
        self._read()

    def append(self, clips: Sequence[Judged]) -> None:
        """Add clips; when this returns, they are on the disk."""
        lines = [json.dumps(self._origin | _to_dict(clip), sort_keys=True) + "\n" for clip in clips]
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.clips |= {clip.sha256: clip for clip in clips}

    def _read(self) -> None:
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            clip = self._parse(line, number)
            self.clips[clip.sha256] = clip
        self._file.truncate(whole)
        self._file.seek(whole)

    def _parse(self, line: bytes, number: int) -> Judged:
        try:
            data = json.loads(line)
            origin = {name: data.pop(name) for name in self._origin}
            clip = Judged(
                **data | {"info": VideoInfo(**data["info"]), "judgement": Judgement.from_dict(data["judgement"])}
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CacError(f"{self.path}:{number} is no judged clip of this version of cac. {_REMEDY}") from error
        for name, expected in self._origin.items():
            if origin[name] != expected:
                raise CacError(f"{self.path} has clips of the {name} {origin[name]}, not {expected}. {_REMEDY}")
        return clip


def _to_dict(clip: Judged) -> dict[str, Any]:
    return asdict(clip) | {"judgement": clip.judgement.to_dict()}


@contextmanager
def open_judged(path: Path, benchmark: str, model: str) -> Iterator[JudgedFile]:
    """Open the file, or create it with its folder, and lock it against other runs.

    Raises:
        CacError: it cannot be written, another run holds it, or it has clips of another model or benchmark.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        file = path.open("r+b")
    except OSError as error:
        raise CacError(f"cannot write {path}: {error.strerror}. Choose another --out.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CacError(f"another run is writing {path}. Wait for it, or choose another --out.") from error
        yield JudgedFile(path, file, benchmark, model)
