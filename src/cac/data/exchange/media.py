"""Taking a video file into a dataset: byte for byte where it is a plain mp4, else encoded anew.

Plain is an mp4 of a constant frame rate that no player turns. All frames are kept and none is repeated, so that frame
numbers stay what they were; a varying rate becomes its average. Left out: sound, and mirrored videos.
"""

import shutil
from pathlib import Path

import numpy as np

from cac.data.clip_file import Pace
from cac.data.exchange.foreign import Unusable
from cac.data.exchange.reading import shown
from cac.errors import CacError
from cac.video import VideoInfo, decode, encode, probe

_MOST_DECODED = 2 * 1024**3  # bytes of frames held at once when encoding anew


def take_video(source: Path, target: Path) -> tuple[VideoInfo, bool]:
    """Copy or encode `source` to the mp4 `target`; return what the new file says of itself, and whether it is a copy.

    Raises:
        Unusable: the file is no whole video, or too long to be encoded anew.
        CacError: `target` cannot be written.
    """
    import av

    try:
        info = probe(source)
        plain, turned = _inspect(source)
        if plain:
            shutil.copyfile(source, target)
            return info, True
        size = info.frame_count * info.width * info.height * 3
        if size > _MOST_DECODED:
            raise Unusable("too long to be encoded anew: make it an mp4 of constant rate first")
        video = decode(source)
        encode(target, np.ascontiguousarray(np.rot90(video.frames, turned, axes=(1, 2))), video.fps)
        return probe(target), False
    except (CacError, ValueError, av.FFmpegError) as error:
        raise Unusable(f"unreadable: {shown(str(error).replace(str(source), source.name))}") from error
    except OSError as error:
        raise CacError(f"cannot write {target}: {error.strerror}. Make room, or name another --out.") from error


def _inspect(path: Path) -> tuple[bool, int]:
    """Return whether a video file is plain, and by how many quarter turns anticlockwise players show it.

    Raises:
        Unusable: frames that the header promises are not there.
    """
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        is_mp4 = path.suffix.lower() == ".mp4" and "mp4" in container.format.name
        times = [packet.pts for packet in container.demux(stream) if packet.size]
        if is_mp4 and len(times) < stream.frames:
            raise Unusable(f"unreadable: cut short, {len(times)} of {stream.frames} frames are there")
        container.seek(0)
        turned = round(next(container.decode(stream)).rotation / 90) % 4
    return is_mp4 and not turned and _is_constant(times), turned


def _is_constant(times: list[int | None]) -> bool:
    """Whether frames follow one another evenly, by their times in ticks of the file's clock."""
    pace = Pace()
    for time in sorted(times, key=lambda time: time or 0):
        pace.see(time)
    return pace.constant
