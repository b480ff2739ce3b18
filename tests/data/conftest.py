"""Videos made on the fly: a textured thing that moves over a textured ground, and files that are out of order."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

SIZE = (128, 96)  # width and height
RADIUS = 18
Frames = np.ndarray


def texture(rng: np.random.Generator, size: tuple[int, int], mean: tuple[int, int, int]) -> Frames:
    noise = cv2.GaussianBlur(rng.standard_normal((size[1], size[0])).astype(np.float32), (0, 0), 2)
    return np.clip(np.array(mean) + 35 * (noise / noise.std())[..., None], 0, 255).astype(np.float32)


def centre_at(t: int) -> tuple[float, float]:
    return 30 + 1.5 * t, 46 + 6 * np.sin(t / 8)


@pytest.fixture(scope="session")
def make_moving() -> Callable[[int, int], Frames]:
    """Return frames of a disc that goes from left to right, 1.5 pixels a frame; `centre_at` says where it is."""

    def make(count: int, seed: int = 0) -> Frames:
        rng = np.random.default_rng(seed)
        ground, thing = texture(rng, SIZE, (90, 110, 90)), texture(rng, SIZE, (190, 90, 60))
        ys, xs = np.mgrid[0 : SIZE[1], 0 : SIZE[0]].astype(np.float32)
        frames = []
        for t in range(count):
            x, y = centre_at(t)
            inside = np.clip(RADIUS - np.hypot(xs - x, ys - y) + 0.5, 0, 1)[..., None]
            matrix = np.array([[1, 0, x - 64], [0, 1, y - 48]], np.float32)
            moved = cv2.warpAffine(thing, matrix, SIZE, borderMode=cv2.BORDER_REFLECT)
            frames.append(np.clip(ground + (moved - ground) * inside, 0, 255).astype(np.uint8))
        return np.stack(frames)

    return make


@pytest.fixture(scope="session")
def moving(make_moving: Callable[[int, int], Frames]) -> Frames:
    return make_moving(40, 0)


@pytest.fixture(scope="session")
def where() -> Callable[[int], tuple[float, float]]:
    return centre_at


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """Write frames as an ordinary mp4; `times` in milliseconds make the rate variable, `turn` is only noted in it."""

    def write(path: Path, frames: Frames, rate: int = 20, times: list[int] | None = None, turn: int = 0) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=rate, options={"crf": "10", "preset": "ultrafast"})
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv420p"
            if turn:
                stream.set_display_rotation(turn)
            base = Fraction(1, 1000) if times else Fraction(1, rate)
            stream.codec_context.time_base = base
            for number, pixels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = times[number] if times else number, base
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write
