"""Small clips for the hooks: a textured square that crosses a plain backdrop, and what a hacker makes of one frame."""

import numpy as np

from cac.video.decode import Video

FPS = 8.0
DARK, BRIGHT = 30, 220  # backdrops; the judge of the tests takes bright for anomalous
MOTION = 0.05  # a reference, diagonals a second; `moving` moves more at its usual step
_SIZE, _SQUARE = 48, 20


def moving(level: int, frames: int = 12, step: int = 2, fps: float = FPS, seed: int = 0) -> Video:
    """A square that goes to and fro by `step` pixels a frame, before a backdrop of grey `level`."""
    pixels = np.full((frames, _SIZE, _SIZE, 3), level, np.uint8)
    square = np.random.default_rng(seed).integers(0, 256, (_SQUARE // 4, _SQUARE // 4, 3))
    square = np.clip(square // 2 + level // 2, 0, 255).astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    room = _SIZE - _SQUARE
    for i in range(frames):
        at = (i * step) % (2 * room)
        left = at if at <= room else 2 * room - at
        pixels[i, 14 : 14 + _SQUARE, left : left + _SQUARE] = square
    return Video(pixels, fps)


def frozen(video: Video) -> Video:
    """Its first frame, as long as it."""
    return Video(np.repeat(video.frames[:1], len(video.frames), axis=0), video.fps)
