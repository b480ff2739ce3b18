"""What is drawn where: boxes on frames, windows on timelines, sheets and overlay videos of real files."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cac.errors import CacError
from cac.schema.annotations import Anomaly, Clip, FrameBox
from cac.schema.dialogue import Finding
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import Family
from cac.video.decode import Video, decode
from cac.video.drawing import BACKGROUND, PREDICTED, TRUTH, Mark, Track, draw_marks, draw_timeline, enlarge, fit_frame
from cac.video.encode import encode
from cac.video.overlay import overlay_video
from cac.video.sheets import contact_sheet, dataset_sheet, shown_indices

WINDOW = (0.5, 1.0)
CLIP = Video(np.zeros((16, 4, 4, 3), np.uint8), 8.0)


@pytest.fixture
def video() -> Video:
    frames = np.full((16, 48, 48, 3), 90, dtype=np.uint8)
    frames[4:8, 12:24, 12:24] = (200, 30, 30)
    return Video(frames, 8.0)


@pytest.fixture
def clip() -> Clip:
    boxes = tuple(FrameBox(frame=frame, box=(0.25, 0.25, 0.5, 0.5)) for frame in range(4, 8))
    anomaly = Anomaly(family=Family.PHYSICAL, leaf="teleport", window=WINDOW, boxes=boxes, saliency=1.0)
    return Clip(
        clip_id="a", path="clips/a.mp4", sha256="0" * 64, fps=8.0, frame_count=16, width=48, height=48,
        source="test", generator="test", split="test", pair_id="p", anomalies=(anomaly,),
    )  # fmt: skip


@pytest.fixture
def judgement() -> Judgement:
    findings = (Finding(0.6, (0.5, 0.5, 0.75, 0.75)), Finding(1.0, (0.5, 0.5, 0.75, 0.75)))
    return Judgement(
        margin=-1.0, verdict="anomalous", windows=((0.6, 1.1),), findings=findings, family=Family.TEMPORAL,
        leaf="vanishing", parsed=True, frames_seen=14, scan_text="", look_text="",
    )  # fmt: skip


def _has(image: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Where the image has exactly this colour, bool of shape (height, width)."""
    return (np.asarray(image) == colour).all(axis=2)


@pytest.mark.parametrize(("dashed", "colour"), [(False, TRUTH), (True, PREDICTED)])
def test_box_is_outlined_where_it_is(dashed, colour) -> None:
    image = Image.new("RGB", (200, 100))
    draw_marks(image, [Mark((0.25, 0.2, 0.5, 0.8), colour, "", dashed)])
    rows, columns = np.nonzero(_has(image, colour))
    assert (columns.min(), columns.max()) == (48, 102)
    assert (rows.min(), rows.max()) == (18, 82)
    assert not _has(image, colour)[22:78, 54:98].any()
    whole = 2 * (55 + 65) * 2 - 16
    assert (len(rows) == whole) if not dashed else (0.3 * whole < len(rows) < 0.7 * whole)


@pytest.mark.parametrize("box", [(0.0, 0.0, 1.0, 1.0), (0.9, 0.9, 1.0, 1.0), (0.0, 0.0, 0.01, 0.01)])
@pytest.mark.parametrize("dashed", [False, True])
def test_labels_stay_inside_the_frame(box, dashed) -> None:
    middle, image = Image.new("RGB", (192, 192)), Image.new("RGB", (192, 192))
    draw_marks(middle, [Mark((0.2, 0.4, 0.4, 0.6), TRUTH, "wall_penetration", dashed)])
    draw_marks(image, [Mark(box, TRUTH, "wall_penetration", dashed)])
    assert _has(middle, BACKGROUND).sum() > 50
    assert _has(image, BACKGROUND).sum() == _has(middle, BACKGROUND).sum()


def test_small_frames_grow_by_whole_factors_and_large_ones_shrink() -> None:
    assert fit_frame(np.zeros((96, 80, 3), np.uint8), 192).size == (160, 192)
    assert fit_frame(np.zeros((100, 60, 3), np.uint8), 192).size == (60, 100)
    assert fit_frame(np.zeros((1080, 1920, 3), np.uint8), 192).size == (192, 108)
    assert enlarge(np.zeros((10, 20, 3), np.uint8), 4).size == (80, 40)


def test_timeline_paints_windows_to_scale() -> None:
    strip = draw_timeline(286, 2.0, [Track("", [(0.5, 1.0)], TRUTH), Track("", [(1.5, 9.0)], PREDICTED)], [])
    for colour, first, last in ((TRUTH, 134, 183), (PREDICTED, 234, 283)):
        columns = np.nonzero(_has(strip, colour))[1]
        assert (columns.min(), columns.max()) == (first, last)


def test_shown_frames_hold_the_window_with_margin() -> None:
    assert shown_indices([WINDOW], CLIP, 8) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert shown_indices([], CLIP, 4) == [2, 6, 10, 14]
    wide = shown_indices([(0.0, 0.25), (1.5, 2.0)], CLIP, 8)
    assert len(wide) == 8
    assert wide[0] <= 1
    assert wide[-1] >= 14


def test_contact_sheet_shows_both_sides_in_their_colours(video, clip, judgement) -> None:
    both, truth_only = contact_sheet(video, clip, judgement), contact_sheet(video, clip)
    assert both.width == 8 * 192 + 7 * 6
    assert _has(both, TRUTH).sum() > 1000
    assert _has(both, PREDICTED).sum() > 1000
    assert _has(truth_only, TRUTH).sum() > 1000
    assert not _has(truth_only, PREDICTED).any()


def test_bars_under_a_frame_follow_the_windows(video, clip, judgement) -> None:
    sheet = contact_sheet(video, clip, judgement)
    indices = shown_indices([WINDOW, (0.6, 1.1)], CLIP, 8)
    for place, index in enumerate(indices):
        x = place * 198 + 90
        seconds = index / 8
        assert _has(sheet, TRUTH)[194, x] == (0.5 <= seconds < 1.0)
        assert _has(sheet, PREDICTED)[199, x] == (0.6 <= seconds < 1.1)


@pytest.fixture
def dataset(tmp_path, video, clip) -> tuple[Path, list[Clip]]:
    (tmp_path / "clips").mkdir()
    twin = clip.model_copy(update={"clip_id": "b", "path": "clips/b.mp4", "anomalies": ()})
    encode(tmp_path / clip.path, video.frames, video.fps)
    encode(tmp_path / twin.path, np.full_like(video.frames, 90), video.fps)
    return tmp_path, [clip, twin]


def test_dataset_sheet_has_a_row_a_clip_and_equal_bytes(dataset) -> None:
    folder, clips = dataset
    one, two = folder / "new" / "one.png", folder / "two.png"
    dataset_sheet(folder, clips, one)
    dataset_sheet(folder, clips, two)
    assert one.read_bytes() == two.read_bytes()
    with Image.open(one) as sheet:
        top, bottom = (
            sheet.crop((0, 0, sheet.width, sheet.height // 2)),
            sheet.crop((0, sheet.height // 2, sheet.width, sheet.height)),
        )
        assert _has(top, TRUTH).sum() > 1000
        assert _has(bottom, TRUTH).sum() < 200  # nothing but the word "truth"


def test_dataset_sheet_refuses_what_it_cannot_do(dataset) -> None:
    folder, clips = dataset
    with pytest.raises(CacError, match="no clip in the dataset matches"):
        dataset_sheet(folder, [], folder / "out.png")
    with pytest.raises(CacError, match=r"no video file at .*gone\.mp4"):
        dataset_sheet(folder, [clips[0].model_copy(update={"path": "clips/gone.mp4"})], folder / "out.png")
    (folder / "file").write_text("")
    with pytest.raises(CacError, match="cannot write"):
        dataset_sheet(folder, clips, folder / "file" / "out.png")


def test_overlay_is_a_larger_video_with_box_and_verdict(video, judgement, tmp_path) -> None:
    out = tmp_path / "deep" / "overlay.mp4"
    overlay_video(video, judgement, 0.12, 0.5, out)
    written = decode(out)
    assert (len(written.frames), written.fps) == (16, 8.0)
    assert written.frames.shape[2] == 384
    assert written.frames.shape[1] > 384
    orange = [_near(frame[:384], PREDICTED) for frame in written.frames]
    assert [index for index, count in enumerate(orange) if count > 300] == [5, 6, 7, 8]
    assert all(_near(frame[384:], PREDICTED) > 300 for frame in written.frames)


def test_overlay_of_a_clean_verdict_has_no_box_and_odd_sizes_work(video, judgement, tmp_path) -> None:
    clean = replace(judgement, verdict="clean", windows=(), findings=(), family=None, leaf=None)
    odd = Video(video.frames[:, :47, :45], video.fps)
    overlay_video(odd, clean, 0.9, 0.5, tmp_path / "o.mp4")
    frame = decode(tmp_path / "o.mp4").frames[6]
    assert frame.shape[0] % 2 == 0
    assert frame.shape[1] % 2 == 0
    assert frame.shape[1] >= 384
    assert _near(frame[:384], PREDICTED) == 0


def test_overlay_of_a_narrow_video_has_room_for_the_words(judgement, tmp_path) -> None:
    narrow = Video(np.full((16, 400, 24, 3), 90, dtype=np.uint8), 8.0)
    overlay_video(narrow, judgement, 0.5, 0.5, tmp_path / "o.mp4")
    frame = decode(tmp_path / "o.mp4").frames[6]
    assert frame.shape[1] == 320
    assert frame.shape[0] > 400


def test_overlay_equal_bytes_and_bad_paths(video, judgement, tmp_path) -> None:
    digests = set()
    for name in ("a.mp4", "b.mp4"):
        overlay_video(video, judgement, 0.5, 0.5, tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1
    with pytest.raises(CacError, match=r"use one of the suffixes \.mp4"):
        overlay_video(video, judgement, 0.5, 0.5, tmp_path / "c.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(CacError, match="cannot write"):
        overlay_video(video, judgement, 0.5, 0.5, tmp_path / "file" / "d.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(CacError, match="Name another place"):
        overlay_video(video, judgement, 0.5, 0.5, tmp_path / "folder.mp4")


def _near(frame: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Pixels within compression error of a colour."""
    return int((np.abs(frame.astype(int) - colour).max(axis=2) < 40).sum())
