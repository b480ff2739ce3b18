"""A folder of numbered images as a video: its frames in the order of their numbers, its rate from their times.

The times are those of `timestamps.txt` in the folder (seconds, a line a frame), else those that the source says, else a
rate that the user gives. Nothing is guessed: a folder without any is refused, and so is one with uneven times.
"""

import math
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path, PurePosixPath

import numpy as np

from cac.data.exchange.parse import as_number, as_utf8
from cac.data.exchange.unusable import UnusableError
from cac.errors import printable
from cac.video.decode import Video

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
TIMES_FILE = "timestamps.txt"
_LAST_DIGITS = re.compile(r"(\d{1,15})\D*$", re.ASCII)
_MAX_BYTES = 2 * 1024**3  # of all frames in memory
_ROUNDING = 0.006  # seconds that a written time may be off: two decimals are usual
_MAX_DENOMINATOR = 1001


def frame_folders(files: Iterable[Path]) -> list[Path]:
    """Return the folders of these files that hold nothing but two or more numbered images, and their times."""
    inside: dict[Path, list[Path]] = {}
    for path in files:
        inside.setdefault(path.parent, []).append(path)
    return sorted(folder for folder, paths in inside.items() if _is_frames(paths))


def _is_frames(paths: Sequence[Path]) -> bool:
    images = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    others = {path.name for path in paths} - {path.name for path in images} - {TIMES_FILE}
    return len(images) > 1 and not others and all(_LAST_DIGITS.search(path.stem) for path in images)


def numbered_images(folder: Path) -> list[tuple[int, Path]]:
    """Return the images of a folder with the last digits of their names, in their order.

    Raises:
        UnusableError: there is none, one has no number, or two have the same.
    """
    paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    numbers = [_LAST_DIGITS.search(path.stem) for path in paths]
    if not paths:
        raise UnusableError("its folder holds no images")
    if None in numbers:
        raise UnusableError("an image without a number in its name")
    images = sorted((int(number[1]), path) for number, path in zip(numbers, paths, strict=True) if number)
    if len({number for number, _ in images}) < len(images):
        raise UnusableError("two images with the same number")
    return images


def read_frames(folder: Path, seconds: Sequence[float] = (), rate: float | None = None) -> Video:
    """Return the images of a folder as a video; the times in the folder go before `seconds`, and these before `rate`.

    Raises:
        UnusableError: an image cannot be read, they differ in size, or their times are missing, uneven or too few.
    """
    images = numbered_images(folder)
    fps = _rate(_times(folder) or list(seconds), len(images), rate)
    frames: list[np.ndarray] = []
    for _, path in images:
        frames.append(read_image(path))
        if frames[-1].shape != frames[0].shape:
            raise UnusableError("frames of different sizes")
        if frames[0].nbytes * len(images) > _MAX_BYTES:
            raise UnusableError("too many or too large frames: make a video file of them first")
    return Video(np.stack(frames), fps)


def read_image(path: Path) -> np.ndarray:
    """Return an image as uint8 of shape (height, width, 3).

    Raises:
        UnusableError: it is none that can be read.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP", "BMP")) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnusableError(f"a frame cannot be read: {printable(path.name)} ({printable(str(error))})") from error


def _times(folder: Path) -> list[float]:
    path = folder / TIMES_FILE
    if not path.is_file():
        return []
    try:
        lines = as_utf8(path.read_bytes())[0].decode().split("\n")
    except (OSError, ValueError) as error:
        raise UnusableError(f"{TIMES_FILE} cannot be read") from error
    return [as_number(line.strip().removesuffix("s")) for line in lines if line.strip()]


def _rate(times: Sequence[float], count: int, rate: float | None) -> float:
    """Return the frames per second: the simplest rate whose frames come at these times.

    Raises:
        UnusableError: no rate does.
    """
    if not times:
        if rate is None:
            raise UnusableError(f"a folder of frames without times: add {TIMES_FILE}, or give --frame-rate")
        return rate
    if len(times) != count:
        raise UnusableError(f"{len(times)} times for {count} frames")
    length = times[-1] - times[0]
    if count < 2 or length <= 0 or not 0 <= times[0] <= length / (count - 1):
        raise UnusableError("frames whose times do not start near 0 or do not rise")
    for denominator in range(1, _MAX_DENOMINATOR + 1):
        fps = Fraction((count - 1) / length).limit_denominator(denominator)
        if fps > 0 and all(math.isclose(t - times[0], i / fps, abs_tol=2 * _ROUNDING) for i, t in enumerate(times)):
            return float(fps)
    raise UnusableError("frames at uneven times: make a video file of them first")


def folder_key(path: PurePosixPath) -> str:
    """Return the name of a folder of frames among videos: it ends in a slash, so that no file has the same."""
    return f"{path.as_posix()}/"
