import numpy as np
import pytest
from helpers.rl_clips import FPS, frozen, moving
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.errors import CacError
from cac.video.decode import Video, decode
from cac.video.encode import encode
from cac.video.motion import mean_motion, reference_motion

MOVING = moving(100, frames=24)
SIDES = st.integers(1, 90)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), SIDES, SIDES, st.integers(0, 2**32 - 1), st.sampled_from([4.0, 8.0, 24.0, 29.97]))
def test_a_still_video_does_not_move(count, height, width, seed, fps):
    frame = np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    assert mean_motion(Video(np.repeat(frame, count, axis=0), fps)) == 0.0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_any_video_has_a_motion(count, seed):
    frames = np.random.default_rng(seed).integers(0, 256, (count, 20, 31, 3), dtype=np.uint8)
    value = mean_motion(Video(frames, FPS))
    assert np.isfinite(value)
    assert value >= 0


def test_what_goes_faster_moves_more():
    slow, fast = (mean_motion(moving(100, frames=24, step=step)) for step in (1, 2))
    assert 0.005 < slow < fast


def hacks() -> dict[str, np.ndarray]:
    """One frame, made to differ from frame to frame without anything moving."""
    rng = np.random.default_rng(1)
    still = frozen(MOVING).frames
    count = len(still)
    wide = still.astype(int)
    return {
        "flicker": wide + rng.integers(-25, 26, (count, 1, 1, 1)),
        "noise": wide + rng.normal(0, 6, still.shape),
        "a slow fade": wide * np.linspace(0.6, 1.3, count)[:, None, None, None],
        "shaking": np.stack([np.roll(still[0], (-1) ** i, axis=1) for i in range(count)]),
        "two frames in turn": np.stack([MOVING.frames[i % 2] for i in range(count)]),
        "one cut": np.concatenate([wide[: count // 2], np.roll(wide[count // 2 :], 17, axis=2)]),
    }


@pytest.mark.parametrize("name", hacks())
def test_change_without_movement_is_hardly_motion(name):
    frames = np.clip(hacks()[name], 0, 255).astype(np.uint8)
    assert np.abs(np.diff(frames.astype(int), axis=0)).max() > 0, "the frames do differ"
    assert mean_motion(Video(frames, FPS)) < 0.02 * mean_motion(MOVING)


def test_a_video_that_stops_half_way_moves_less():
    stopped = MOVING.frames.copy()
    stopped[12:] = stopped[12]
    assert 0 < mean_motion(Video(stopped, FPS)) < 0.6 * mean_motion(MOVING)


def test_frame_rate_size_and_compression_hardly_matter(tmp_path):
    expected = mean_motion(MOVING)
    fine = moving(100, frames=48, step=1, fps=2 * FPS)
    assert mean_motion(fine) == pytest.approx(expected, rel=0.05)
    large = Video(MOVING.frames.repeat(4, axis=1).repeat(4, axis=2), FPS)
    assert mean_motion(large) == pytest.approx(expected, rel=0.15)
    encode(tmp_path / "moving.mp4", MOVING.frames, FPS)
    assert mean_motion(decode(tmp_path / "moving.mp4")) == pytest.approx(expected, rel=0.05)
    encode(tmp_path / "still.mp4", frozen(MOVING).frames, FPS)
    assert mean_motion(decode(tmp_path / "still.mp4")) == 0.0


def test_the_reference_is_the_median():
    videos = [moving(100, step=step) for step in (1, 2, 3)]
    assert reference_motion(videos) == sorted(mean_motion(video) for video in videos)[1]
    with pytest.raises(CacError, match="no video"):
        reference_motion([])
    with pytest.raises(CacError, match="half of these 3 videos are still"):
        reference_motion([MOVING, frozen(MOVING), frozen(MOVING)])
