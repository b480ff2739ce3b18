"""What a video file is: the cases of real files, each with the right value."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cac.errors import BeyondLimitsError, CacError
from cac.video.decode import AnyVideo, Video, VideoFile, decode, open_video
from cac.video.stream import Limits

SIZE = (128, 96)
RATE = 8


def gradient(count: int = 24, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Frames with a red left half, a blue top half, and a brightness that tells their number."""
    width, height = size
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[..., : width // 2, 0] = 200
    frames[:, : height // 2, :, 2] = 200
    frames[..., 1] = (np.arange(count) * (200 // count)).astype(np.uint8)[:, None, None]
    return frames


def write(
    path: Path, frames: np.ndarray, *, codec: str = "libx264", times: list[float] | None = None,
    change: Callable[[object], None] = lambda stream: None, pix_fmt: str = "yuv420p", rate: int = RATE,
) -> Path:  # fmt: skip
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        change(stream)
        for number, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[number] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def with_matrix(source: Path, target: Path, matrix: bytes) -> Path:
    """Copy an mp4 with another display matrix in its track header."""
    content, identity = source.read_bytes(), _matrix(1, 0, 0, 1)
    assert content.count(identity) >= 2  # of the movie, and of the track
    place = content.rindex(identity)
    target.write_bytes(content[:place] + matrix + content[place + len(identity) :])
    return target


def _matrix(a: int, b: int, c: int, d: int) -> bytes:
    values = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    return b"".join(value.to_bytes(4, "big", signed=True) for value in values)


# (display matrix, where the red half and the blue half of the picture are shown)
ORIENTATIONS = {
    "upright": (_matrix(1, 0, 0, 1), ("left", "top")),
    "quarter turn clockwise": (_matrix(0, 1, -1, 0), ("top", "right")),
    "half turn": (_matrix(-1, 0, 0, -1), ("right", "bottom")),
    "quarter turn anticlockwise": (_matrix(0, -1, 1, 0), ("bottom", "left")),
    "mirrored": (_matrix(-1, 0, 0, 1), ("right", "top")),
    "upside down mirrored": (_matrix(1, 0, 0, -1), ("left", "bottom")),
}


def _half_of(frame: np.ndarray, channel: int) -> str:
    height, width = frame.shape[:2]
    halves = {
        "left": frame[:, : width // 2],
        "right": frame[:, width // 2 :],
        "top": frame[: height // 2],
        "bottom": frame[height // 2 :],
    }
    return max(halves, key=lambda name: halves[name][..., channel].mean())


@pytest.mark.parametrize("case", ORIENTATIONS)
def test_a_turned_or_mirrored_picture_is_shown_as_players_show_it(case: str, tmp_path: Path) -> None:
    matrix, expected = ORIENTATIONS[case]
    plain = write(tmp_path / "plain.mp4", gradient())
    video = open_video(with_matrix(plain, tmp_path / "turned.mp4", matrix))
    (frame,) = video.frames_at([5])
    assert (_half_of(frame, 0), _half_of(frame, 2)) == expected
    assert video.size == (SIZE[::-1] if "quarter" in case else SIZE) == frame.shape[1::-1]


def test_pixels_that_are_not_square_are_shown_wider(tmp_path: Path) -> None:
    def change(stream: object) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)  # type: ignore[attr-defined]

    video = open_video(write(tmp_path / "sar.mp4", gradient(), change=change))
    assert video.size == (2 * SIZE[0], SIZE[1])
    assert next(iter(video.frames_at([0]))).shape == (SIZE[1], 2 * SIZE[0], 3)


def test_times_of_a_varying_rate_are_those_of_the_frames(tmp_path: Path) -> None:
    times = [0.0, 0.4, 0.44, 0.48, 1.0, 2.0, 2.04]
    video = open_video(write(tmp_path / "vfr.mkv", gradient(7), times=times))
    assert list(video.times) == pytest.approx(times, abs=2e-3)
    assert video.duration == pytest.approx(2.04 + 0.22, abs=0.3)
    assert video.fps == pytest.approx(7 / video.duration)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "mov", "avi"])
def test_a_file_without_its_end_is_refused_in_every_container(suffix: str, tmp_path: Path) -> None:
    codec = "libvpx-vp9" if suffix == "webm" else "libx264"
    noise = np.random.default_rng(0).integers(0, 256, (48, 96, 128, 3), np.uint8)
    whole = write(tmp_path / f"whole.{suffix}", noise, codec=codec)
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    open_video(whole)
    with pytest.raises(CacError, match=r"is cut off at|Is the file a whole video"):
        open_video(cut)


def test_the_film_is_read_and_not_the_cover_before_it() -> None:
    video = open_video(Path(__file__).parent / "cover_first.mkv")
    assert (video.frame_count, video.size) == (24, SIZE)


@pytest.mark.parametrize(
    ("codec", "suffix", "pix_fmt"),
    [
        ("libx264", "mp4", "yuv420p"),
        ("libx265", "mp4", "yuv420p10le"),
        ("libvpx-vp9", "webm", "yuv420p"),
        ("libsvtav1", "mp4", "yuv420p10le"),
        ("mpeg4", "avi", "yuv420p"),
        ("mjpeg", "mov", "yuvj420p"),
    ],
)
def test_frames_at_gives_the_frames_of_a_whole_decode(codec: str, suffix: str, pix_fmt: str, tmp_path: Path) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no {codec}")
    path = write(tmp_path / f"clip.{suffix}", gradient(60), codec=codec, pix_fmt=pix_fmt, rate=30)
    whole = decode(path)
    video = _as_file(path)
    wanted = [0, 1, 17, 18, 40, 59]
    for index, frame in zip(wanted, video.frames_at(wanted), strict=True):
        assert np.array_equal(frame, whole.frames[index])


def _as_file(path: Path) -> AnyVideo:
    from cac.video.stream import index_video, video_source

    source = video_source(path)
    return VideoFile(source, index_video(source))


def test_a_large_clip_stays_in_its_file_and_is_scaled_when_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "large.mp4", gradient(30, (1280, 720)), rate=24)
    video = open_video(path)
    assert isinstance(video, VideoFile)
    assert (video.size, video.frame_count, video.fps) == ((1280, 720), 30, 24.0)
    (small,) = video.frames_at([20], longest_side=320)
    assert small.shape == (180, 320, 3)
    full = decode(path).frames[20]
    assert abs(small.astype(int) - full.reshape(180, 4, 320, 4, 3).mean(axis=(1, 3))).mean() < 3


def test_a_small_clip_is_decoded_once(tmp_path: Path) -> None:
    assert isinstance(open_video(write(tmp_path / "small.mp4", gradient())), Video)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(seconds=2.0), "longer than the 2 seconds"),
        (Limits(frame_pixels=1000), "more than the 1000 pixels"),
        (Limits(frames=10), "more than the 10 frames"),
    ],
)
def test_a_video_beyond_the_limits_is_refused(limits: Limits, message: str, tmp_path: Path) -> None:
    with pytest.raises(BeyondLimitsError, match=message):
        open_video(write(tmp_path / "clip.mp4", gradient()), limits)


def test_a_bomb_of_huge_frames_costs_neither_memory_nor_time(tmp_path: Path) -> None:
    import resource

    path = write(tmp_path / "bomb.mkv", np.zeros((2, 96, 128, 3), np.uint8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BeyondLimitsError):
        open_video(path, Limits(frame_pixels=96 * 127))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
