"""From a video to the two views a model gets: coarse frames of the whole clip, dense frames of chosen windows.

Training, evaluation, the registered model and reinforcement learning all use this module, so the frames, their
times and their sizes are the same everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cac.frames import Frames
from cac.schema.dialogue import format_times
from cac.schema.geometry import Window
from cac.video.decode import AnyVideo
from cac.video.sampling import coarse_indices, look_indices, only_indices


@dataclass(frozen=True)
class View:
    """Frames of a video as the model sees them: their indices, times in seconds, and resized images."""

    indices: list[int]
    times: list[float]
    images: list[Image.Image]

    @property
    def stamps(self) -> list[str]:
        """The times as prompts and answers write them."""
        return format_times(self.times)


def coarse_view(video: AnyVideo, frames: Frames) -> View:
    """Return the scan's frames: spread evenly over the whole clip."""
    return make_view(video, coarse_indices(video.frame_count, video.duration, frames), frames.coarse_size)


def only_view(video: AnyVideo, frames: Frames) -> View:
    """Return the frames of a single look: over the whole clip, as many as two looks have together."""
    return make_view(video, only_indices(video.frame_count, video.duration, frames), frames.one_look_size)


def dense_view(video: AnyVideo, windows: Sequence[Window], frames: Frames) -> View:
    """Return the second look's frames: inside the windows, or over the whole clip at another phase without any."""
    indices = look_indices(windows, video.times, video.duration, frames)
    return make_view(video, indices, frames.dense_size)


def make_view(video: AnyVideo, indices: list[int], size: int) -> View:
    """Return the given frames with their longer side resized to `size` pixels."""
    images = [resize(frame, size) for frame in video.frames_at(indices, size)]
    return View(indices, [video.times[i] for i in indices], images)


def resize(frame: np.ndarray, size: int) -> Image.Image:
    """Resize a uint8 frame (height, width, 3) so that its longer side is `size` pixels."""
    height, width = frame.shape[:2]
    scale = size / max(height, width)
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(frame).resize(target, Image.Resampling.BILINEAR)
