"""Contact sheets: frames of a clip in a row, with boxes drawn and a timeline of the windows below."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cac.errors import CacError
from cac.schema.annotations import Clip
from cac.schema.geometry import Window
from cac.schema.judgement import Judgement
from cac.video.decode import AnyVideo, open_video
from cac.video.drawing import (
    BACKGROUND,
    PREDICTED,
    TEXT,
    TRACK,
    TRUTH,
    Mark,
    Track,
    draw_marks,
    draw_time,
    draw_timeline,
    fit_frame,
    font,
    predicted_marks,
    save_image,
    stack,
    truth_marks,
)
from cac.video.sampling import dense_indices, spread_indices

SHEET_FRAME = 192  # maximum length of a frame's longer side, pixels; small frames are enlarged towards it
_GAP = 6


def contact_sheet(video: AnyVideo, clip: Clip, judgement: Judgement | None = None, count: int = 8) -> Image.Image:
    """Return `count` frames in a row with truth (and predicted) boxes, and a timeline of the windows below.

    The frames are taken around the windows of both. Bars under a frame show whose windows it lies in.
    """
    predicted = judgement.windows if judgement else ()
    indices = shown_indices([*clip.windows, *predicted], video, count)
    return _sheet(video, clip, judgement, indices)


def _sheet(video: AnyVideo, clip: Clip, judgement: Judgement | None, indices: Sequence[int]) -> Image.Image:
    tracks = [Track("truth", clip.windows, TRUTH)]
    if judgement:
        tracks.append(Track("predicted", judgement.windows, PREDICTED))
    frames = []
    for index, frame in zip(indices, video.frames_at(indices, SHEET_FRAME), strict=True):
        seconds = video.times[index]
        marks = truth_marks(clip, index) + (predicted_marks(judgement, seconds) if judgement else [])
        frames.append(_framed(frame, seconds, marks, tracks))
    row = _beside(frames)
    timeline = draw_timeline(row.width, video.duration, tracks, [video.times[index] for index in indices])
    return stack([row, timeline])


def _framed(frame: np.ndarray, seconds: float, marks: Sequence[Mark], tracks: Sequence[Track]) -> Image.Image:
    """Return a marked frame with its time, and a bar below it for each track, coloured if the time is in a window."""
    image = fit_frame(frame, SHEET_FRAME)
    draw_marks(image, marks)
    draw_time(image, seconds)
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


def dataset_sheet(dataset: Path, clips: Sequence[Clip], out: Path) -> None:
    """Write a PNG with one row per clip: a caption, and 8 frames around its anomaly with the truth drawn.

    A clean twin shows the same frames as its anomalous clip, if that is given too, so that the two can be compared.

    Raises:
        CacError: no clip is given, a file cannot be decoded, or `out` cannot be written.
    """
    if not clips:
        raise CacError("no clip in the dataset matches. Choose another split, family or number.")
    twin_windows = {clip.pair_id: clip.windows for clip in clips if not clip.is_clean}
    rows = []
    for clip in clips:
        video = open_video(dataset / clip.path)
        windows = clip.windows or twin_windows.get(clip.pair_id, [])
        sheet = _sheet(video, clip, None, shown_indices(windows, video, 8))
        rows.extend([_caption(_describe(clip), sheet.width), sheet])
    save_image(stack(rows), out)


def _describe(clip: Clip) -> str:
    anomalies = [f"{a.family} / {a.leaf}, {_seconds(a.window)}, saliency {a.saliency:.2f}" for a in clip.anomalies]
    distractors = "".join(f"; {d.name} {d.window[0]:.2f}-{d.window[1]:.2f}s is normal" for d in clip.distractors)
    return f"{clip.clip_id} ({clip.split}): {'; '.join(anomalies) or 'clean'}{distractors}"


def _seconds(window: Window | None) -> str:
    return "at an unknown time" if window is None else f"{window[0]:.2f}-{window[1]:.2f}s"


def _caption(text: str, width: int) -> Image.Image:
    image = Image.new("RGB", (width, 30), BACKGROUND)
    ImageDraw.Draw(image).text((2, 9), text, font=font(15), fill=TEXT)
    return image


def shown_indices(windows: Sequence[Window], video: AnyVideo, count: int) -> list[int]:
    """Return the indices of `count` frames that span the windows with a margin on both sides.

    Without windows, the frames are spread over the whole clip.
    """
    if not windows:
        return spread_indices(video.frame_count, count)
    start, end = min(window[0] for window in windows), max(window[1] for window in windows)
    margin = max(1 / video.fps, 0.15 * (end - start))
    return dense_indices([(max(0.0, start - margin), end + margin)], video.times, video.duration, count)
