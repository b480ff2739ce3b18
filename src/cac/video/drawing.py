"""Boxes, windows and verdicts drawn on frames, for people: contact sheets, dataset sheets and overlay videos.

Clips may be tiny, so frames are enlarged by a whole factor first and drawn on after. Truth is teal and solid, what the
model says is orange and dashed, everywhere. Nothing here measures anything; charts are in `evaluation/curves.py`.
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
from cac.video.decode import Video, decode, dense_indices, encode, spread_indices

Colour = tuple[int, int, int]

TRUTH: Colour = (45, 226, 200)
PREDICTED: Colour = (255, 150, 40)
GOOD: Colour = (110, 220, 120)
BAD: Colour = (255, 105, 97)
BACKGROUND: Colour = (24, 26, 31)
TRACK: Colour = (58, 62, 71)
TEXT: Colour = (232, 234, 238)
MUTED: Colour = (160, 166, 178)

SHEET_FRAME = 192  # pixels of a sheet frame's longer side, at most; small frames are enlarged towards it
OVERLAY_FRAME = 384  # pixels an overlay's longer side has at least
_PANEL = 240  # pixels that what is written below a narrow video takes at least
_GAP = 6
_VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv")


@dataclass(frozen=True)
class Mark:
    """A box to draw, normalised to [0, 1], with a label; dashed where a model says it."""

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
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
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
    """Draw boxes just outside of what they hold.

    A solid box's label is above it and a dashed one's below, or the other way round where the frame ends.
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
            places = [outer[1] - label.height, outer[3] + 1]
            tops = [top for top in (places[::-1] if mark.dashed else places) if 0 <= top <= height - label.height]
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
    font = _font(max(13, frame_height // 28))
    left, top, right, bottom = font.getbbox(text)
    tag = Image.new("RGB", (int(right - left) + 5, int(bottom - top) + 5), colour)
    ImageDraw.Draw(tag).text((3 - left, 2 - top), text, font=font, fill=BACKGROUND)
    return tag


def _stamp(image: Image.Image, seconds: float) -> None:
    """Write the time at the lower left."""
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
        draw.text((2, top - 3), track.label, font=_font(14), fill=track.colour)
        draw.rectangle((label_width, top, width - 2, top + 13), fill=TRACK)
        for start, end in track.windows:
            left, right = (label_width + round(min(t, duration) / duration * span) for t in (start, end))
            draw.rectangle((left, top, max(left, right - 1), top + 13), fill=track.colour)
    for tick in ticks:
        x = label_width + round(tick / duration * span)
        draw.line((x, 2, x, strip.height - 3), fill=TEXT)
    return strip


def shown_indices(windows: Sequence[Window], frame_count: int, fps: float, count: int) -> list[int]:
    """Return `count` frames around the windows: all of their span and a little before and after it.

    Without a window the whole clip is spread over.
    """
    if not windows:
        return spread_indices(frame_count, count)
    start, end = min(window[0] for window in windows), max(window[1] for window in windows)
    margin = max(1 / fps, 0.15 * (end - start))
    return dense_indices([(max(0.0, start - margin), end + margin)], frame_count, fps, count)


def truth_marks(clip: Clip, frame: int) -> list[Mark]:
    """Return the annotated boxes of a frame."""
    return [Mark(box, TRUTH, leaf, dashed=False) for leaf, box in clip.boxes_at(frame)]


def predicted_marks(judgement: Judgement, seconds: float) -> list[Mark]:
    """Return the judgement's box at a time, if it has one."""
    box = judgement.box_at(seconds)
    if box is None:
        return []
    return [Mark(box, PREDICTED, judgement.leaf or "", dashed=True)]


def contact_sheet(video: Video, clip: Clip, judgement: Judgement | None = None, count: int = 8) -> Image.Image:
    """Return `count` frames in a row with truth (and predicted) boxes, and a timeline of the windows below.

    The frames lie around the windows of both; bars under a frame tell whose window it is in.
    """
    predicted = judgement.windows if judgement else ()
    indices = shown_indices([*clip.windows, *predicted], len(video.frames), video.fps, count)
    return _sheet(video, clip, judgement, indices)


def _sheet(video: Video, clip: Clip, judgement: Judgement | None, indices: Sequence[int]) -> Image.Image:
    tracks = [Track("truth", clip.windows, TRUTH)]
    if judgement:
        tracks.append(Track("predicted", judgement.windows, PREDICTED))
    frames = []
    for index in indices:
        seconds = index / video.fps
        marks = truth_marks(clip, index) + (predicted_marks(judgement, seconds) if judgement else [])
        frames.append(_framed(video.frames[index], seconds, marks, tracks))
    row = _beside(frames)
    timeline = draw_timeline(row.width, video.duration, tracks, [index / video.fps for index in indices])
    return _stack([row, timeline])


def _framed(frame: np.ndarray, seconds: float, marks: Sequence[Mark], tracks: Sequence[Track]) -> Image.Image:
    """Return a marked frame with its time, and a bar below it for each track with a window at this time."""
    image = fit_frame(frame, SHEET_FRAME)
    draw_marks(image, marks)
    _stamp(image, seconds)
    bar = 4
    framed = Image.new("RGB", (image.width, image.height + (bar + 1) * len(tracks)), BACKGROUND)
    framed.paste(image)
    for number, track in enumerate(tracks):
        inside = any(start - 1e-6 <= seconds < end - 1e-6 for start, end in track.windows)
        top = image.height + 1 + number * (bar + 1)
        colour = track.colour if inside else TRACK
        ImageDraw.Draw(framed).rectangle((0, top, image.width - 1, top + bar - 1), fill=colour)
    return framed


def _beside(images: Sequence[Image.Image]) -> Image.Image:
    width = sum(image.width for image in images) + _GAP * (len(images) - 1)
    row = Image.new("RGB", (width, max(image.height for image in images)), BACKGROUND)
    left = 0
    for image in images:
        row.paste(image, (left, 0))
        left += image.width + _GAP
    return row


def _stack(images: Sequence[Image.Image]) -> Image.Image:
    height = sum(image.height for image in images)
    column = Image.new("RGB", (max(image.width for image in images), height), BACKGROUND)
    top = 0
    for image in images:
        column.paste(image, (0, top))
        top += image.height
    return column


def dataset_sheet(dataset: Path, clips: Sequence[Clip], out: Path) -> None:
    """Write a PNG with one row a clip: 8 frames around its anomaly with the truth drawn, and what it is.

    A clean twin whose anomalous clip is also given shows the same frames, so that the two can be compared.

    Raises:
        CacError: there is no clip, a file cannot be decoded, or `out` cannot be written.
    """
    if not clips:
        raise CacError("no clip to show: nothing in the dataset matches. Ask for another split, family or number.")
    twin_windows = {clip.pair_id: clip.windows for clip in clips if not clip.is_clean}
    rows = []
    for clip in clips:
        video = decode(dataset / clip.path)
        windows = clip.windows or twin_windows.get(clip.pair_id, [])
        sheet = _sheet(video, clip, None, shown_indices(windows, len(video.frames), video.fps, 8))
        rows.extend([_caption(_describe(clip), sheet.width), sheet])
    save_image(_stack(rows), out)


def _describe(clip: Clip) -> str:
    anomalies = [
        f"{a.family} / {a.leaf}, {a.window[0]:.2f}-{a.window[1]:.2f}s, saliency {a.saliency:.2f}"
        for a in clip.anomalies
    ]
    usual = "".join(f"; {d.name} {d.window[0]:.2f}-{d.window[1]:.2f}s is as it should be" for d in clip.distractors)
    return f"{clip.clip_id} ({clip.split}): {'; '.join(anomalies) or 'clean'}{usual}"


def _caption(text: str, width: int) -> Image.Image:
    image = Image.new("RGB", (width, 30), BACKGROUND)
    ImageDraw.Draw(image).text((2, 9), text, font=_font(15), fill=TEXT)
    return image


def save_image(image: Image.Image, out: Path) -> None:
    """Write a PNG; the same image gives the same bytes.

    Raises:
        CacError: the file cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        image.save(out, format="PNG", optimize=False)
    except OSError as error:
        raise CacError(f"cannot write {out}: {error.strerror}. Give a path in a folder you may write to.") from error


def overlay_video(video: Video, judgement: Judgement, score: float, out: Path) -> None:
    """Write the video, enlarged to at least 384 pixels, with boxes drawn and verdict, score and windows below.

    Args:
        video: what was judged.
        judgement: of this video.
        score: calibrated probability of clean, in [0, 1].
        out: the file to write; .mp4, .mov or .mkv.

    Raises:
        CacError: `out` has another suffix or cannot be written.
    """
    if out.suffix.lower() not in _VIDEO_SUFFIXES:
        raise CacError(f"cannot write a video to {out}: name it with one of {', '.join(_VIDEO_SUFFIXES)}.")
    longest = max(video.frames.shape[1:3])
    factor = max(1, -(-OVERLAY_FRAME // longest))
    frames = [_overlay_frame(video, index, judgement, score, factor) for index in range(len(video.frames))]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        encode(out, _with_even_sides(np.stack(frames)), video.fps, pix_fmt="yuv420p")
    except OSError as error:
        raise CacError(f"cannot write {out}: {error.strerror}. Give a path in a folder you may write to.") from error


def _with_even_sides(frames: np.ndarray) -> np.ndarray:
    """Repeat the last row or column where a side is odd: players show yuv420p only, which halves the colour planes."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _overlay_frame(video: Video, index: int, judgement: Judgement, score: float, factor: int) -> np.ndarray:
    seconds = index / video.fps
    image = enlarge(video.frames[index], factor)
    draw_marks(image, predicted_marks(judgement, seconds))
    tracks, width = [Track("looked at", judgement.windows, PREDICTED)], max(image.width, _PANEL)
    timeline = draw_timeline(width, video.duration, tracks, [seconds])
    framed = _stack([image, _verdict_panel(judgement, score, seconds, width), timeline])
    even = Image.new("RGB", (framed.width + framed.width % 2, framed.height + framed.height % 2), BACKGROUND)
    even.paste(framed)
    return np.asarray(even)


def _verdict_panel(judgement: Judgement, score: float, seconds: float, width: int) -> Image.Image:
    panel = Image.new("RGB", (width, 44), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    colour = GOOD if judgement.verdict == "clean" else BAD
    draw.text((4, 2), f"{judgement.verdict}   score {score:.2f}", font=_font(17), fill=colour)
    draw.text((width - 4, 4), f"{seconds:.2f}s", font=_font(14), fill=MUTED, anchor="ra")
    if judgement.leaf:
        draw.text((4, 25), f"{judgement.family} / {judgement.leaf}", font=_font(13), fill=TEXT)
    return panel
