"""Sources that say when and seldom where: LabelU, V7 Darwin, and rows of windows."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.exchange_cases import Importer, frames_of

from cac.data.exchange.import_ import ImportRequest, import_dataset
from cac.errors import CacError
from cac.schema.annotations import Anomaly, read_clips, window_frames
from cac.video.encode import encode


def write(folder: Path, content: object, name: str = "source.json") -> Path:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


def when(anomalies: tuple[Anomaly, ...]) -> list[tuple[str, tuple[float, float], int]]:
    return [(one.leaf, one.window, len(one.boxes)) for one in anomalies]


SEGMENT = {"id": "s", "start": 0.5, "end": 1.5, "order": 1, "label": "Flicker", "attributes": {"sure": ["no"]}}
FRAME = {"id": "f", "time": 2.0, "label": "Extra leg", "order": 2}


def labelu_tool(name: str, *results: object) -> dict[str, object]:
    return {"toolName": name, "result": list(results)}


def exported(*tools: dict[str, object]) -> list[dict[str, object]]:
    """A sample of LabelU's JSON export, whose result is JSON again."""
    result = {"width": 64, "height": 48, "duration": 3, "annotations": list(tools)}
    return [{"id": 1, "result": json.dumps(result), "url": "/api/a.mp4", "fileName": "a.mp4"}]


def test_labelu_segments_and_frames_are_windows(take: Importer, tmp_path: Path) -> None:
    tools = labelu_tool("videoSegmentTool", SEGMENT), labelu_tool("videoFrameTool", FRAME)
    expected = [("colour_swap", (0.5, 1.5), 0), ("extra_limb", (2.0, 2.125), 0)]
    lines = {"sample_name": "a.mp4", "config": {}, "annotations": {str(n): tool for n, tool in enumerate(tools)}}

    assert when(take("labelu", write(tmp_path, exported(*tools))).clips["a"].anomalies) == expected
    assert when(take("labelu", write(tmp_path, json.dumps(lines), "s.jsonl")).clips["a"].anomalies) == expected


@pytest.mark.parametrize(
    ("tools", "reason"),
    [
        ([labelu_tool("tagTool", {"value": {"quality": ["bad"]}})], "'bad', chosen or typed"),
        ([labelu_tool("textTool", {"value": {"note": "odd hand"}})], "'note=odd hand', chosen or typed"),
        ([labelu_tool("rectTool", {"x": 1})], "a rectTool, which"),
        ([], "nothing says that somebody looked"),
        ([labelu_tool("videoSegmentTool", SEGMENT | {"end": None})], "no number"),
    ],
)
def test_labelu_what_is_not_mapped_or_known_makes_no_clean_clip(
    take: Importer, tmp_path: Path, tools: list[dict[str, object]], reason: str
) -> None:
    with pytest.raises(CacError, match=reason):
        take("labelu", write(tmp_path, exported(*tools)))


def test_labelu_a_tag_that_the_map_ignores_makes_a_clean_clip(take: Importer, tmp_path: Path) -> None:
    source = write(tmp_path, exported(labelu_tool("tagTool", {"value": {"quality": ["good"]}})))

    assert take("labelu", source, "labels: {good: ignore}").clips["a"].is_clean


def box(left: int) -> dict[str, object]:
    return {"bounding_box": {"x": left, "y": 12, "w": 16, "h": 12}, "keyframe": True}


def darwin(*annotations: dict[str, object], **parts: object) -> dict[str, object]:
    slot = {"slot_name": "0", "type": "video", "width": 64, "height": 48, "fps": 8, "frame_count": 24}
    item = {"name": "a.mp4", "path": "/", "slots": [slot]}
    return {"version": "2.0", "item": item, "annotations": list(annotations)} | parts


TRACK = {"name": "Extra leg", "frames": {"4": box(0), "8": box(32)}, "ranges": [[4, 10]], "interpolated": True}


def test_darwin_tracks_are_shown_in_their_ranges(take: Importer, tmp_path: Path) -> None:
    (anomaly,) = take("darwin", write(tmp_path, darwin(TRACK))).clips["a"].anomalies
    left = {one.frame: one.box[0] for one in anomaly.boxes}

    assert list(left) == [4, 5, 6, 7, 8, 9]
    assert (left[4], left[6], left[9]) == (0, 0.25, 0.5)


def test_darwin_tracks_that_are_not_interpolated_hold_their_boxes(take: Importer, tmp_path: Path) -> None:
    held = TRACK | {"interpolated": False, "ranges": [[4, 6], [7, 8]]}
    clip = take("darwin", write(tmp_path, darwin(held))).clips["a"]
    lefts = [[one.box[0] for one in anomaly.boxes] for anomaly in clip.anomalies]

    assert frames_of(clip, "extra_limb") == [[4, 5], [7, 8]], "a frame at the end of a range belongs to it"
    assert lefts == [[0, 0], [0, 0.5]]


def test_darwin_tags_are_windows(take: Importer, tmp_path: Path) -> None:
    tag = {"name": "Flicker", "frames": {"4": {"tag": {}, "keyframe": True}}, "segments": [[4, 12]]}
    clip = take("darwin", write(tmp_path, darwin(tag))).clips["a"]

    assert when(clip.anomalies) == [("colour_swap", (0.5, 1.5), 0)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (darwin(TRACK | {"frames": {"4": {"ellipse": {}, "keyframe": True}}}), "a ellipse without a bounding box"),
        (darwin(TRACK | {"hidden_areas": [[1, 2]]}), "an annotation with hidden_areas"),
        (darwin(TRACK | {"ranges": [[4, None]]}), "not a start and an end"),
        (darwin({"name": "Extra leg", "bounding_box": {}}), "without frames"),
        (darwin(properties=[{"name": "verdict", "value": "bad"}]), "`properties` is not known"),
        (darwin(item={"name": "a.mp4", "slots": [{}, {}]}), "several slots"),
    ],
)
def test_darwin_what_is_not_read_makes_no_clean_clip(
    take: Importer, tmp_path: Path, content: object, reason: str
) -> None:
    with pytest.raises(CacError, match=reason):
        take("darwin", write(tmp_path, content))


ROWS = """video,start,end,label,pair_id
a.mp4,0.5,1.5,Flicker,p
a.mp4,2,2.5,Extra leg,p
b.mp4,,,clean,p
"""


def test_rows_of_windows_are_anomalies_without_boxes(take: Importer, tmp_path: Path) -> None:
    clips = take("windows", write(tmp_path, ROWS, "rows.csv")).clips

    assert when(clips["a"].anomalies) == [("colour_swap", (0.5, 1.5), 0), ("extra_limb", (2.0, 2.5), 0)]
    assert (clips["b"].is_clean, clips["b"].pair_id) == (True, "p")


def test_a_row_without_times_is_an_anomaly_without_a_window(take: Importer, tmp_path: Path) -> None:
    clips = take("windows", write(tmp_path, [{"video": "a.mp4", "label": "Flicker"}])).clips

    assert [(one.leaf, one.window, one.boxes) for one in clips["a"].anomalies] == [("colour_swap", None, ())]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"label": "clean", "start": 1, "end": 2}, "a window that is called clean"),
        ({"label": "Flicker", "start": 2}, "no number"),
        ({"label": "Flicker", "start": 2, "end": 1}, "ends before it starts"),
        ({"label": "Flicker", "start": 7, "end": 8}, "outside the clip"),
        ({"label": "clean", "comment": "the hand melts"}, "`comment` is not known"),
        ({}, "no number"),
    ],
)
def test_only_a_row_that_says_clean_makes_a_clean_clip(
    take: Importer, tmp_path: Path, row: dict[str, object], reason: str
) -> None:
    with pytest.raises(CacError, match=reason):
        take("windows", write(tmp_path, [{"video": "a.mp4"} | row]))


def test_a_video_that_is_clean_in_one_row_and_not_in_another_is_refused(take: Importer, tmp_path: Path) -> None:
    rows = [{"video": "a.mp4", "label": "clean"}, {"video": "a.mp4", "start": 1, "end": 2, "label": "Flicker"}]
    with pytest.raises(CacError, match="both clean and anomalous"):
        take("windows", write(tmp_path, rows))


TIMES = (0.0, 0.1, 0.2, 1.0, 1.1, 2.0, 2.1, 2.2)


@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [
        (1.0, 2.0, [3, 4]),
        (0.0, 0.2, [0, 1]),
        (0.95, 1.05, [3]),
        (1.0004, 1.1004, [3]),
        (0.3, 0.9, [2]),  # between two frames: the nearest
        (2.1, 2.3, [6, 7]),
    ],
)
def test_seconds_of_a_varying_rate_are_those_of_its_frames(
    tmp_path: Path, start: float, end: float, frames: list[int]
) -> None:
    """An average rate would put the frame of 1.0 s at 0.9 s, and that of 2.0 s at 1.5 s."""
    videos, levels = tmp_path / "videos", np.arange(8, dtype=np.uint8)[:, None, None, None] * 30
    videos.mkdir()
    encode(videos / "a.mp4", np.broadcast_to(levels, (8, 48, 64, 3)), 8, times=TIMES)
    row = {"video": "a.mp4", "start": start, "end": end, "label": "extra_limb"}
    source = write(tmp_path, [row, {"video": "a.mp4", "start": 0.0, "end": 0.05, "label": "vanishing"}])
    import_dataset(ImportRequest("windows", source, videos, None, tmp_path / "out", 0.15, 0.2))
    (clip,) = read_clips(tmp_path / "out")
    found = {one.leaf: list(window_frames(one, clip.fps, clip.frame_count)) for one in clip.anomalies}
    assert found == {"extra_limb": frames, "vanishing": [0]}
