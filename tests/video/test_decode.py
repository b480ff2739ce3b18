"""Real mp4 files there and back, files that are no videos, and the sampler's promises."""

import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.errors import CacError
from cac.schema.geometry import Window
from cac.video.decode import decode, probe
from cac.video.encode import encode
from cac.video.sampling import dense_indices, even_times, spread_indices

OnPath = Callable[[Path], object]

few = settings(max_examples=50, deadline=None)
frame_counts = st.integers(1, 200)
counts = st.integers(1, 20)
rates = st.sampled_from([1.0, 8.0, 23.976, 30.0])
times = st.floats(0, 30)
windows = st.lists(st.tuples(times, times).map(lambda pair: (min(pair), max(pair))), max_size=4)


def moving_square(frames: int = 12, height: int = 48, width: int = 64) -> np.ndarray:
    """A red square that moves right over a gradient, so that frames differ and their order shows."""
    ys, xs = np.mgrid[:height, :width]
    video = np.repeat(np.stack([xs * 2, ys * 3, xs + ys], axis=-1).astype(np.uint8)[None], frames, axis=0)
    for t in range(frames):
        video[t, 10:22, 3 * t : 3 * t + 12] = (222, 48, 44)
    return video


def test_a_video_survives_encoding(tmp_path: Path) -> None:
    frames = moving_square()
    encode(tmp_path / "clip.mp4", frames, fps=8)
    video = decode(tmp_path / "clip.mp4")

    assert video.frames.shape == frames.shape
    assert video.frames.dtype == np.uint8
    error = np.abs(video.frames.astype(float) - frames)
    assert error.mean() < 2
    assert max(error[t].mean() for t in range(len(frames))) < 4
    assert video.duration == pytest.approx(1.5)


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4", moving_square(), fps=8)
    encode(tmp_path / "b.mp4", moving_square(), fps=8)

    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("fps", [0.5, 8, 12.5, 24000 / 1001, 29.97, 60])
@pytest.mark.parametrize("frames", [1, 5])
def test_rate_count_and_size_are_kept(tmp_path: Path, fps: float, frames: int) -> None:
    encode(tmp_path / "clip.mp4", moving_square(frames, height=33, width=47), fps)
    info = probe(tmp_path / "clip.mp4")

    assert info.fps == pytest.approx(fps, abs=1e-9)
    assert (info.frame_count, info.width, info.height) == (frames, 47, 33)
    assert decode(tmp_path / "clip.mp4").fps == info.fps


def test_a_browser_can_play_the_other_pixel_format(tmp_path: Path) -> None:
    encode(tmp_path / "clip.mp4", moving_square(), fps=8, pix_fmt="yuv420p")

    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert probe(tmp_path / "clip.mp4").frame_count == 12


def _write_sound(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))


def _write_torn(path: Path) -> None:
    encode(path, moving_square(), fps=8)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _write_damaged(path: Path) -> None:
    encode(path, moving_square(), fps=8)
    content = bytearray(path.read_bytes())
    content[48 : len(content) // 2] = bytes(len(content) // 2 - 48)
    path.write_bytes(content)


def _write_frameless(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("missing.mp4", lambda path: None),
        ("folder.mp4", lambda path: path.mkdir()),
        ("empty.mp4", lambda path: path.write_bytes(b"")),
        ("text.mp4", lambda path: path.write_text("This is no video.\n" * 100)),
        ("text.txt", lambda path: path.write_text("This is no video.\n" * 100)),
        ("letter.nfo", lambda path: path.write_text("This is no video.\n" * 100)),
        ("noise.mp4", lambda path: path.write_bytes(np.random.default_rng(0).bytes(4000))),
        ("torn.mp4", _write_torn),
        ("damaged.mp4", _write_damaged),
        ("frameless.mp4", _write_frameless),
        ("sound.wav", _write_sound),
    ],
)
@pytest.mark.parametrize("read", [decode, probe])
def test_what_is_no_video_is_named(tmp_path: Path, name: str, write: OnPath, read: OnPath) -> None:
    path = tmp_path / name
    write(path)

    with pytest.raises(CacError, match=name):
        read(path)


@few
@given(frame_counts, counts, st.floats(0, 0.999))
def test_spread_frames_are_sorted_unique_inside_and_as_many_as_asked(total: int, count: int, phase: float) -> None:
    indices = spread_indices(total, count, phase)

    assert indices == sorted(set(indices))
    assert len(indices) == min(count, total)
    assert 0 <= indices[0] <= indices[-1] < total


@few
@given(frame_counts, counts)
def test_spread_frames_leave_no_long_gap(total: int, count: int) -> None:
    indices = spread_indices(total, count)
    gaps = np.diff([-1, *indices, total])

    assert max(gaps) <= total / min(count, total) + 1


def dense(spans: list[Window], total: int, fps: float, count: int) -> list[int]:
    return dense_indices(spans, even_times(total, fps), total / fps, count)


def test_spread_frames_of_worked_examples() -> None:
    assert spread_indices(16, 4) == [2, 6, 10, 14]
    assert spread_indices(16, 4, phase=0.0) == [0, 4, 8, 12]
    assert spread_indices(3, 8) == [0, 1, 2]


@few
@given(windows, frame_counts, rates, counts)
def test_dense_frames_are_sorted_unique_inside_and_as_many_as_asked(
    spans: list[Window], total: int, fps: float, count: int
) -> None:
    indices = dense(spans, total, fps, count)

    assert indices == sorted(set(indices))
    assert len(indices) == min(count, total)
    assert 0 <= indices[0] <= indices[-1] < total


@few
@given(windows, frame_counts, rates, counts)
def test_dense_frames_stay_in_the_windows_if_these_hold_enough(
    spans: list[Window], total: int, fps: float, count: int
) -> None:
    # 1e-6 s is the sampler's own tolerance at a window's ends.
    inside = {i for i in range(total) if any(start - 1e-6 <= i / fps < end - 1e-6 for start, end in spans)}
    indices = set(dense(spans, total, fps, count))

    if len(inside) >= count:
        assert indices <= inside
    elif inside:
        assert inside <= indices


def test_dense_frames_of_a_short_window_are_widened_to_both_sides() -> None:
    assert dense([(1.0, 1.25)], 32, 8, 6) == [6, 7, 8, 9, 10, 11]
    assert dense([(0.0, 0.25)], 32, 8, 6) == [0, 1, 2, 3, 4, 5]
    assert dense([(3.75, 9.0)], 32, 8, 6) == [26, 27, 28, 29, 30, 31]


def test_dense_frames_of_a_window_between_two_frames_are_those_around_it() -> None:
    assert dense([(0.9, 0.99)], 16, 8, 5) == [6, 7, 8, 9, 10]
    assert dense([(1.9, 2.0)], 16, 8, 3) == [13, 14, 15]


def test_dense_frames_of_several_windows_skip_what_is_between() -> None:
    assert dense([(3.0, 3.5), (0.5, 1.0)], 32, 8, 8) == [4, 5, 6, 7, 24, 25, 26, 27]
    assert dense([(0.0, 0.25), (1.75, 2.0)], 16, 8, 16) == list(range(16))


@pytest.mark.parametrize("spans", [[], [(2.0, 3.0)], [(50.0, 60.0)], [(1.0, 1.0)]])
def test_without_a_window_in_the_clip_all_of_it_is_seen_at_another_phase(spans: list[Window]) -> None:
    indices = dense(spans, 16, 8, 4)

    assert indices == spread_indices(16, 4, phase=0.0)
    assert not set(indices) & set(spread_indices(16, 4))


def _write_of_two_sizes(path: Path) -> None:
    """Two streams of one file after another, as when broadcasts are joined."""
    parts = [path.with_suffix(f".{side}.ts") for side in (48, 32)]
    for part, side in zip(parts, (48, 32), strict=True):
        encode(part, moving_square(height=side), fps=8)
    path.write_bytes(b"".join(part.read_bytes() for part in parts))


def test_recordings_joined_to_one_file_are_refused(tmp_path: Path) -> None:
    """Frames of two sizes, and two of each time."""
    _write_of_two_sizes(tmp_path / "joined.ts")
    with pytest.raises(CacError, match=r"joined\.ts has several frames with the same time"):
        decode(tmp_path / "joined.ts")


def test_a_title_in_another_encoding_and_a_name_like_an_address_are_no_hindrance(tmp_path: Path, monkeypatch) -> None:
    with av.open(str(tmp_path / "10:30.avi"), "w") as container:
        container.metadata["title"] = "Caf?"
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in moving_square():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    path = tmp_path / "10:30.avi"
    content = path.read_bytes()
    assert b"Caf?" in content
    path.write_bytes(content.replace(b"Caf?", b"Caf\xe9"))
    monkeypatch.chdir(tmp_path)
    assert len(decode("10:30.avi").frames) == 12
