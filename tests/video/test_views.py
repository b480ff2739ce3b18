"""The two views of a video: which frames, at which times, at which size."""

import numpy as np
import pytest

from cac.frames import Frames
from cac.video.decode import Video
from cac.video.views import coarse_view, dense_view, make_view, resize

FRAMES = Frames(
    looks=2,
    coarse_count=4,
    coarse_rate=None,
    coarse_size=32,
    dense_count=3,
    dense_rate=None,
    dense_size=40,
    one_look_size=80,
    overlap=0.0,
)


def counting_video(frames: int = 16, height: int = 60, width: int = 80) -> Video:
    """A video whose frame number `t` is uniformly of brightness 10 t."""
    levels = np.arange(frames, dtype=np.uint8)[:, None, None, None] * 10
    return Video(np.broadcast_to(levels, (frames, height, width, 3)).copy(), 8.0)


def test_the_coarse_view_spans_the_clip() -> None:
    view = coarse_view(counting_video(), FRAMES)

    assert view.indices == [2, 6, 10, 14]
    assert view.times == [0.25, 0.75, 1.25, 1.75]
    assert [image.size for image in view.images] == [(32, 24)] * 4
    assert [np.asarray(image)[0, 0, 0] for image in view.images] == [20, 60, 100, 140]


def test_the_dense_view_shows_the_window_larger() -> None:
    view = dense_view(counting_video(), [(1.0, 1.375)], FRAMES)

    assert view.indices == [8, 9, 10]
    assert view.times == [1.0, 1.125, 1.25]
    assert [image.size for image in view.images] == [(40, 30)] * 3
    assert [np.asarray(image)[0, 0, 0] for image in view.images] == [80, 90, 100]


def test_the_dense_view_without_a_window_spans_the_clip_from_its_first_frame() -> None:
    assert dense_view(counting_video(), [], FRAMES).indices == [0, 5, 10]


def test_a_short_clip_is_shown_whole() -> None:
    video = counting_video(frames=2)

    assert coarse_view(video, FRAMES).indices == dense_view(video, [(0.0, 0.1)], FRAMES).indices == [0, 1]


def test_named_frames_are_shown_in_their_order() -> None:
    assert make_view(counting_video(), [5], 32).times == [0.625]


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(96, 96, (40, 40)), (60, 80, (40, 30)), (80, 60, (30, 40)), (2, 400, (40, 1))]
)
def test_the_longer_side_sets_the_size(height: int, width: int, expected: tuple[int, int]) -> None:
    assert resize(np.zeros((height, width, 3), np.uint8), 40).size == expected
