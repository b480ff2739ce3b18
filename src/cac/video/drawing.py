"""Boxes, time windows and labels drawn on frames: what contact sheets (`sheets.py`) and overlays (`overlay.py`) share.

Small frames are enlarged by a whole factor before anything is drawn. Truth is teal and solid, predictions are orange
and dashed, everywhere. Charts are in `evaluation/curves.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cac.errors import CacError
from cac.schema.annotations import Clip
from cac.schema.geometry import Box, Window
from cac.schema.judgement import Judgement

Colour = tuple[int, int, int]

TRUTH: Colour = (45, 226, 200)
PREDICTED: Colour = (255, 150, 40)
GOOD: Colour = (110, 220, 120)
BAD: Colour = (255, 105, 97)
BACKGROUND: Colour = (24, 26, 31)
TRACK: Colour = (58, 62, 71)
TEXT: Colour = (232, 234, 238)
MUTED: Colour = (160, 166, 178)


@dataclass(frozen=True)
class Mark:
    """A box to draw, normalised to [0, 1], with a label; dashed if it is a prediction."""

    box: Box
    colour: Colour
    label: str
    dashed: bool


@dataclass(frozen=True)
class Track:
    """A row of a timeline: windows in seconds."""

    label: str
    windows: Sequence[Window]
    colour: Colour


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that all drawings use, `size` pixels high."""
    return ImageFont.load_default(size=size)


def enlarge(frame: np.ndarray, factor: int) -> Image.Image:
    """Return a frame (height, width, 3) as an image enlarged by a whole factor."""
    height, width = frame.shape[:2]
    return Image.fromarray(frame).resize((width * factor, height * factor), Image.Resampling.LANCZOS)


def fit_frame(frame: np.ndarray, side: int) -> Image.Image:
    """Return a frame whose longer side is at most `side`: small ones enlarged by a whole factor, large ones shrunk."""
    longest = max(frame.shape[:2])
    if longest <= side:
        return enlarge(frame, side // longest)
    image = Image.fromarray(frame)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def draw_marks(image: Image.Image, marks: Sequence[Mark]) -> None:
    """Draw boxes, with their lines just outside the marked region.

    The label of a solid box goes above it and that of a dashed box below, or on the other side if the frame ends there.
    """
    draw = ImageDraw.Draw(image)
    width, height = image.size
    line = max(2, max(width, height) // 160)
    for mark in marks:
        x1, y1, x2, y2 = mark.box
        outer = (
            max(0, round(x1 * width) - line),
            max(0, round(y1 * height) - line),
            min(width - 1, round(x2 * width) + line),
            min(height - 1, round(y2 * height) + line),
        )
        _outline(draw, outer, mark, line)
        if mark.label:
            label = _tag(mark.label, mark.colour, height)
            sides = [outer[1] - label.height, outer[3] + 1]
            tops = [top for top in (sides[::-1] if mark.dashed else sides) if 0 <= top <= height - label.height]
            image.paste(label, (max(0, min(outer[0], width - label.width)), tops[0] if tops else 0))


def _outline(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], mark: Mark, line: int) -> None:
    if not mark.dashed:
        draw.rectangle(box, outline=mark.colour, width=line)
        return
    x1, y1, x2, y2 = box
    dash = line * 4
    for x in range(x1, x2 + 1, dash * 2):
        end = min(x + dash, x2)
        draw.rectangle((x, y1, end, y1 + line - 1), fill=mark.colour)
        draw.rectangle((x, y2 - line + 1, end, y2), fill=mark.colour)
    for y in range(y1, y2 + 1, dash * 2):
        end = min(y + dash, y2)
        draw.rectangle((x1, y, x1 + line - 1, end), fill=mark.colour)
        draw.rectangle((x2 - line + 1, y, x2, end), fill=mark.colour)


def _tag(text: str, colour: Colour, frame_height: int) -> Image.Image:
    """Return dark text on a patch of colour, in a size that suits the frame."""
    typeface = font(max(13, frame_height // 28))
    left, top, right, bottom = typeface.getbbox(text)
    tag = Image.new("RGB", (int(right - left) + 5, int(bottom - top) + 5), colour)
    ImageDraw.Draw(tag).text((3 - left, 2 - top), text, font=typeface, fill=BACKGROUND)
    return tag


def draw_time(image: Image.Image, seconds: float) -> None:
    """Write the time in seconds into the lower left corner."""
    tag = _tag(f"{seconds:.2f}s", MUTED, image.height)
    image.paste(tag, (0, image.height - tag.height))


def draw_timeline(width: int, duration: float, tracks: Sequence[Track], ticks: Sequence[float]) -> Image.Image:
    """Return a strip with a labelled bar for each track; `ticks` (seconds) are marked with thin lines."""
    label_width, row = 84, 20
    strip = Image.new("RGB", (width, row * len(tracks) + 4), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    span = width - label_width - 2
    for number, track in enumerate(tracks):
        top = number * row + 4
        draw.text((2, top - 3), track.label, font=font(14), fill=track.colour)
        draw.rectangle((label_width, top, width - 2, top + 13), fill=TRACK)
        for start, end in track.windows:
            left, right = (label_width + round(min(t, duration) / duration * span) for t in (start, end))
            draw.rectangle((left, top, max(left, right - 1), top + 13), fill=track.colour)
    for tick in ticks:
        x = label_width + round(tick / duration * span)
        draw.line((x, 2, x, strip.height - 3), fill=TEXT)
    return strip


def truth_marks(clip: Clip, frame: int) -> list[Mark]:
    """Return the annotated boxes of a frame."""
    return [Mark(box, TRUTH, leaf, dashed=False) for leaf, box in clip.boxes_at(frame)]


def predicted_marks(judgement: Judgement, seconds: float) -> list[Mark]:
    """Return the judgement's box at a time, if it has one; a drawn box is not held beyond the windows."""
    box = judgement.box_at(seconds, hold=0.0)
    if box is None:
        return []
    return [Mark(box, PREDICTED, judgement.leaf or "", dashed=True)]


def stack(images: Sequence[Image.Image]) -> Image.Image:
    """Return the images below each other, on the background colour."""
    height = sum(image.height for image in images)
    column = Image.new("RGB", (max(image.width for image in images), height), BACKGROUND)
    top = 0
    for image in images:
        column.paste(image, (0, top))
        top += image.height
    return column


def save_image(image: Image.Image, out: Path) -> None:
    """Write a PNG file; the same image gives the same bytes.

    Raises:
        CacError: the file cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        image.save(out, format="PNG", optimize=False)
    except OSError as error:
        raise CacError(f"cannot write {out}: {error.strerror}. Choose a writable folder.") from error
