"""Overlay videos: a video with the predicted boxes drawn, and verdict, score and windows below."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cac.errors import CacError
from cac.io.aside import new_file
from cac.schema.judgement import Judgement
from cac.video.decode import AnyVideo, Video
from cac.video.drawing import (
    BACKGROUND,
    BAD,
    GOOD,
    MUTED,
    PREDICTED,
    TEXT,
    Track,
    draw_marks,
    draw_timeline,
    enlarge,
    font,
    predicted_marks,
    stack,
)
from cac.video.encode import encode

OVERLAY_FRAME = 384  # minimum length of the longer side, pixels
OVERLAY_SIDE = 1280  # a video of at least twice this length is drawn smaller
_PANEL = 320  # minimum width of the verdict panel, pixels
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv")


def overlay_video(video: AnyVideo, judgement: Judgement, score: float, threshold: float | None, out: Path) -> None:
    """Write the video, enlarged to at least 384 pixels, with boxes drawn, and verdict, score and windows below.

    Args:
        video: the judged video.
        judgement: its judgement.
        score: calibrated probability that it is clean, in [0, 1].
        threshold: the lowest score of a clean verdict; None if the verdict does not follow from the score.
        out: the file to write; .mp4, .mov or .mkv.

    Raises:
        CacError: `out` has another suffix or cannot be written.
    """
    if out.suffix.lower() not in VIDEO_SUFFIXES:
        raise CacError(f"cannot write a video to {out}: use one of the suffixes {', '.join(VIDEO_SUFFIXES)}.")
    factor = max(1, -(-OVERLAY_FRAME // max(video.size)))
    text = f"{judgement.verdict}   score {score:.2f}" + ("" if threshold is None else f"   clean from {threshold:.2f}")
    numbered = zip(video.frames_at(range(video.frame_count), OVERLAY_SIDE), video.times, strict=True)
    frames = (_with_even_sides(_overlay_frame(video, frame, time, judgement, text, factor)) for frame, time in numbered)
    try:
        own_times = None if isinstance(video, Video) and video.own_times is None else video.times
        with new_file(out) as partial:
            encode(partial, frames, video.fps, pix_fmt="yuv420p", times=own_times)
    except OSError as error:
        raise CacError(f"cannot write {out}: {error.strerror}. Choose a writable folder.") from error


def _with_even_sides(frame: np.ndarray) -> np.ndarray:
    """Repeat the last row or column of an odd side: players need yuv420p, which halves the colour planes."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _overlay_frame(
    video: AnyVideo, frame: np.ndarray, seconds: float, judgement: Judgement, text: str, factor: int
) -> np.ndarray:
    image = enlarge(frame, factor)
    draw_marks(image, predicted_marks(judgement, seconds))
    found = judgement.windows if judgement.verdict == "anomalous" else ()
    tracks = [Track("looked at", judgement.scan_windows, MUTED), Track("found", found, PREDICTED)]
    width = max(image.width, _PANEL)
    timeline = draw_timeline(width, video.duration, tracks, [seconds])
    framed = stack([image, _verdict_panel(judgement, text, seconds, width), timeline])
    even = Image.new("RGB", (framed.width + framed.width % 2, framed.height + framed.height % 2), BACKGROUND)
    even.paste(framed)
    return np.asarray(even)


def _verdict_panel(judgement: Judgement, text: str, seconds: float, width: int) -> Image.Image:
    panel = Image.new("RGB", (width, 44), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    colour = GOOD if judgement.verdict == "clean" else BAD
    draw.text((4, 2), text, font=font(15), fill=colour)
    draw.text((width - 4, 4), f"{seconds:.2f}s", font=font(14), fill=MUTED, anchor="ra")
    if judgement.leaf:
        draw.text((4, 25), f"{judgement.family} / {judgement.leaf}", font=font(13), fill=TEXT)
    return panel
