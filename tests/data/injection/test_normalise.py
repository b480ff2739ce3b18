"""Files as they come, made uniform: rate, rotation, size, and what is refused."""

import wave
from pathlib import Path

import numpy as np
import pytest

from cac.data.injection import normalise
from cac.data.injection.normalise import NormalisedVideo
from cac.errors import CacError


def read(path: Path, size: int = 128) -> tuple[NormalisedVideo, list[np.ndarray]]:
    video = NormalisedVideo(path, size)
    return video, list(video.frames())


def greys(values: list[int], height: int = 64, width: int = 96) -> np.ndarray:
    return np.stack([np.full((height, width, 3), value, np.uint8) for value in values])


def test_a_constant_rate_gives_every_frame_once(tmp_path, write_video):
    video, frames = read(write_video(tmp_path / "a.mp4", greys(list(range(0, 250, 10)))))
    assert video.fps == 20
    assert [round(frame.mean() / 10) for frame in frames] == list(range(25))
    assert video.notes == []


def test_a_variable_rate_becomes_constant_and_keeps_its_time(tmp_path, write_video):
    times = [*range(0, 500, 50), *range(500, 1500, 100)]
    video, frames = read(write_video(tmp_path / "a.mp4", greys(list(range(0, 200, 10))), times=times))
    assert len(frames) / video.fps == pytest.approx(1.5, abs=0.1)
    # The second half runs at half the rate, so each of its frames is shown about twice as long.
    shown = [round(frame.mean() / 10) for frame in frames]
    assert shown == sorted(shown)
    assert sum(value >= 10 for value in shown) == pytest.approx(2 * sum(value < 10 for value in shown), abs=3)
    assert any("variable frame rate" in note for note in video.notes)


def test_a_high_rate_is_thinned_out(tmp_path, write_video):
    video, frames = read(write_video(tmp_path / "a.mp4", greys([0, 50] * 30), rate=60))
    assert (video.fps, len(frames)) == (30, 30)


@pytest.mark.parametrize(("turn", "corner"), [(90, (-8, 8)), (180, (-8, -8)), (-90, (8, -8))])
def test_rotation_is_carried_out(tmp_path, write_video, turn, corner):
    frames = greys([0] * 4)
    frames[:, :24, :24] = 255
    video, turned = read(write_video(tmp_path / "a.mp4", frames, turn=turn))
    assert turned[0].shape == ((64, 96, 3) if turn == 180 else (96, 64, 3))
    assert turned[0][corner].mean() > 200
    assert turned[0][8, 8].mean() < 50
    assert any("upright" in note for note in video.notes)


def test_large_frames_are_made_small_with_even_sides_and_small_ones_stay(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", greys([9] * 3, height=90, width=202))
    assert read(path, 128)[1][0].shape == (58, 128, 3)
    assert read(path, 256)[1][0].shape == (90, 202, 3)


def test_a_gap_in_the_time_stamps_is_closed(tmp_path, write_video):
    times = [*range(0, 500, 50), *range(3_600_000, 3_600_500, 50)]
    video, frames = read(write_video(tmp_path / "a.mp4", greys(list(range(0, 200, 10))), times=times))
    assert len(frames) < 100
    assert any("gap" in note for note in video.notes)


def test_a_playlist_opens_no_other_file(tmp_path, write_video):
    write_video(tmp_path / "secret.mp4", greys([9] * 20)).rename(tmp_path / "secret.ts")
    header = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n"
    (tmp_path / "list.m3u8").write_text(f"{header}secret.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(CacError, match="cannot be decoded"):
        read(tmp_path / "list.m3u8")


def test_frames_too_large_for_memory_are_refused_before_they_are_kept(tmp_path, write_video, monkeypatch):
    monkeypatch.setattr(normalise, "MAX_PIXELS", 96 * 64 - 1)
    path = write_video(tmp_path / "a.mp4", greys([9] * 3))
    with pytest.raises(CacError, match="frames of 96x64"):
        read(path)


def test_what_is_no_whole_video_is_refused(tmp_path, write_video):
    whole = write_video(tmp_path / "a.mp4", greys(list(range(0, 250, 10))))
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-400])
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "notes.txt").write_text("neither is this\n" * 50)
    (tmp_path / "empty.mp4").touch()
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    for name, said in (
        ("cut.mp4", "cannot be decoded"), ("text.mp4", "cannot be decoded"), ("notes.txt", "no video stream"),
        ("empty.mp4", "cannot be decoded"), ("sound.wav", "no video stream"),
    ):  # fmt: skip
        with pytest.raises(CacError, match=said):
            read(tmp_path / name)
