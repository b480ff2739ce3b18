"""Files meant to harm, and files that are merely broken: each is refused by name, and nothing outside is touched."""

import json
import math
import struct
import zlib
from pathlib import Path

import pytest
from helpers.exchange_cases import FILES, UNICODE, Importer, frames_of

import cac.data.exchange.parse as reading
from cac.errors import CacError
from cac.schema.annotations import read_clips

BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<annotations><meta><source>&b;</source></meta></annotations>"""
OUTSIDE = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><annotations>&e;</annotations>'


def skyra_file(folder: Path, *records: object) -> Path:
    path = folder / "skyra.json"
    path.write_text(json.dumps(list(records)), encoding="utf-8")
    return path


def record(video: str = "a.mp4", time: str = "[0, 1]", box: str = "[0.1, 0.1, 0.5, 0.5]") -> dict[str, str]:
    return {"video": video, "text": f"<type>Extra leg</type> in <t>{time}</t> at <bbox>{box}</bbox>"}


FIRST = {"id": 0, "video_id": 1, "frame_id": 0}  # proves that frames count from 0


def coco_file(folder: Path, **changes: object) -> Path:
    """A COCO file with one box in frame 2 of a.mp4, and some of its keys changed."""
    image = {"id": 1, "video_id": 1, "frame_id": 2, "width": 64, "height": 48}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 16, 16]}
    content = {
        "videos": [{"id": 1, "name": "a.mp4"}],
        "categories": [{"id": 1, "name": "Extra leg"}],
        "images": [FIRST, image | {key: value for key, value in changes.items() if key in image}],
        "annotations": [box | {key: value for key, value in changes.items() if key not in image}],
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("table", ["videos", "images", "categories"])
def test_coco_files_joined_with_the_same_ids_are_refused(take: Importer, tmp_path: Path, table: str) -> None:
    path = coco_file(tmp_path)
    content = json.loads(path.read_text())
    content[table].append(content[table][-1] | {"name": "b.mp4", "frame_id": 3})
    path.write_text(json.dumps(content))
    with pytest.raises(CacError, match=f"more than one of `{table}` with the id 1"):
        take("coco", path)


def test_coco_videos_of_one_name_are_refused(take: Importer, tmp_path: Path) -> None:
    path = coco_file(tmp_path)
    content = json.loads(path.read_text())
    content["videos"].append({"id": 2, "name": "a.mp4"})
    path.write_text(json.dumps(content))
    with pytest.raises(CacError, match="more than one of the videos named"):
        take("coco", path)


@pytest.mark.parametrize("document", [BOMB, OUTSIDE, BOMB.encode("utf-16")], ids=["bomb", "external", "utf-16"])
def test_xml_with_a_dtd_is_refused(take: Importer, tmp_path: Path, document: str | bytes) -> None:
    source = tmp_path / "bomb.xml"
    source.write_bytes(document if isinstance(document, bytes) else document.encode())
    with pytest.raises(CacError, match="document type declaration"):
        take("cvat", source)


@pytest.mark.parametrize(
    "name", ["../a.mp4", "/etc/passwd", "sub/../../a.mp4", "..\\a.mp4", "C:/a.mp4", "a.mp4\0.mp4", "/data/../a.mp4"]
)
def test_names_that_leave_the_folder_are_refused(take: Importer, tmp_path: Path, name: str) -> None:
    done = take("skyra", skyra_file(tmp_path, record(name), record("b.mp4")))

    assert set(done.clips) == {"b"}
    assert done.report["refused_videos"]["the name leaves the folder of videos"]["count"] == 1
    assert done.report["annotations"]["in_refused_videos"] == 1


def test_label_studio_urls_do_not_leave_the_folder_either(take: Importer, tmp_path: Path) -> None:
    tasks = [
        {"data": {"video": url}, "annotations": [{"result": []}]}
        for url in (
            "/data/local-files/?d=../a.mp4",
            "/data/upload/1/../../a.mp4",
            "http://[x/d.mp4",
            "s3://b/k/b.mp4?x=1",
        )
    ]
    source = tmp_path / "tasks.json"
    source.write_text(json.dumps(tasks))

    assert set(take("label-studio", source).clips) == {"b"}


def test_label_studio_videos_of_one_name_are_not_mixed_up(take: Importer, tmp_path: Path) -> None:
    urls = ("s3://bucket/1/a.mp4", "s3://bucket/2/a.mp4", "s3://bucket/1/b.mp4", "s3://bucket/1/b.mp4")
    source = tmp_path / "tasks.json"
    source.write_text(json.dumps([{"data": {"video": url}, "annotations": [{"result": []}]} for url in urls]))
    done = take("label-studio", source)

    assert set(done.clips) == {"b"}
    assert "different videos of one name: give them names of their own" in done.report["refused_videos"]


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [
        ([math.nan, 0, 1, 1], "not finite"),
        ([0, 0, math.inf, 1], "not finite"),
        ([8, 8, -4, 4], "negative side"),
        ([-50, -50, 20, 20], "no box with an area"),
        ([8, 8, 0, 4], "no box with an area"),
        ([1e308, 1, 1e308, 1], "no box with an area"),
        ([10**400, 0, 1, 1], "no number"),
        ([1, 2, 3], "not four numbers"),
        (["x", 0, 1, 1], "no number"),
        ([True, 0, 1, 1], "no number"),
        ({"x": 1}, "not four numbers"),
    ],
)
def test_boxes_that_are_none_are_refused_and_the_clip_is_not_called_clean(
    take: Importer, tmp_path: Path, bbox: object, reason: str
) -> None:
    with pytest.raises(CacError, match=f"not known to be clean: .*{reason}"):
        take("coco", coco_file(tmp_path, bbox=bbox))


@pytest.mark.parametrize("frame", [24, -1, 10**12, 10**300])
def test_frames_outside_the_clip_are_refused_at_no_cost(take: Importer, tmp_path: Path, frame: int) -> None:
    with pytest.raises(CacError, match="outside the clip"):
        take("coco", coco_file(tmp_path, frame_id=frame))


def test_a_track_to_a_huge_frame_number_ends_with_the_clip(take: Importer, tmp_path: Path) -> None:
    text = (FILES / "cvat_keyframes.xml").read_text().replace(' frame="20"', ' frame="1" ').replace('"8"', '"9e15"')
    (tmp_path / "huge.xml").write_text(text)
    done = take("cvat", tmp_path / "huge.xml")

    assert frames_of(done.clips["a"], "extra_limb") == [list(range(1, 24))]


@pytest.mark.parametrize("time", ["[5, 9]", "[-9, -8]", "[1e300, 2e300]", "[2, 1]", "[nan, 1]", "[0]", "[a, b]"])
def test_windows_that_are_none_or_outside_are_refused(take: Importer, tmp_path: Path, time: str) -> None:
    with pytest.raises(CacError, match="not known to be clean"):
        take("skyra", skyra_file(tmp_path, record(time=time)))


def test_a_window_that_sticks_out_is_cut_and_counted(take: Importer, tmp_path: Path) -> None:
    done = take("skyra", skyra_file(tmp_path, record(time="[2.5, 1e300]")))

    assert frames_of(done.clips["a"], "extra_limb") == [[20, 21, 22, 23]]
    assert done.report["changed"]["frames outside the clip skipped"]["count"] == 1


@pytest.mark.parametrize("saliency", ["0", "2", "nan", "high"])
def test_a_saliency_out_of_range_is_refused(take: Importer, tmp_path: Path, saliency: str) -> None:
    with pytest.raises(CacError, match="not known to be clean"):
        take("coco", coco_file(tmp_path, attributes={"saliency": saliency}))


def test_broken_videos_are_refused_and_the_others_kept(take: Importer, videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    whole = (videos / "a.mp4").read_bytes()
    (folder / "good.mp4").write_bytes(whole)
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_text("no video at all")
    (folder / "sound.mp4").write_bytes(sound_only(tmp_path))
    (folder / "notes.txt").write_text("a wrong extension")
    (folder / "empty.mp4").touch()
    names = ["good.mp4", "cut.mp4", "text.mp4", "sound.mp4", "notes.txt", "empty.mp4", "gone.mp4"]
    done = take("skyra", skyra_file(tmp_path, *map(record, names)), videos=folder)

    assert set(done.clips) == {"good"}
    refused = {one for names in done.report["refused_videos"].values() for one in names["examples"]}
    assert refused == set(names) - {"good.mp4"}
    assert done.report["videos"] | {"named": 7, "kept": 1} == done.report["videos"]
    assert [path.name for path in (done.folder / "clips").iterdir()] == ["good.mp4"]


def sound_only(folder: Path) -> bytes:
    """An mp4 that holds a second of silence and no picture."""
    import av
    import numpy as np

    path = folder / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def test_unicode_names_are_found_composed_or_not(take: Importer, tmp_path: Path) -> None:
    decomposed = UNICODE.replace("é", "e\u0301")
    assert decomposed != UNICODE
    (clip,) = take("skyra", skyra_file(tmp_path, record(decomposed))).clips.values()

    assert clip.clip_id.startswith("видео_é-")


def test_names_that_are_no_text_do_no_harm(take: Importer, tmp_path: Path) -> None:
    bad = record("\ud800.mp4") | {"generator": "\ud800", "pair_id": "\ud800"}
    odd = record("b.mp4") | {"generator": "\ud800", "pair_id": ["x"]}
    done = take("skyra", skyra_file(tmp_path, bad, odd))

    assert [(clip.generator, clip.pair_id) for clip in done.clips.values()] == [("unknown", "b")]


@pytest.mark.parametrize("name", ["cvat", "label-studio", "coco", "skyra"])
@pytest.mark.parametrize("content", [b"", b"[1", b"\xff\xfe\x00", b"[" * 100_000, b"[" + b"9" * 5000 + b"]", b"[null]"])
def test_files_that_are_something_else_are_one_clear_error(
    take: Importer, tmp_path: Path, name: str, content: bytes
) -> None:
    source = tmp_path / ("source.xml" if name == "cvat" else "source.json")
    source.write_bytes(content)
    with pytest.raises(CacError, match=r"source\.") as caught:
        take(name, source)
    assert len(str(caught.value)) < 500
    assert not (tmp_path / "out").exists()


def test_a_file_too_large_to_read_is_refused(take: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = skyra_file(tmp_path, *[record()] * 200)
    monkeypatch.setattr(reading, "MAX_BYTES", 10_000)
    with pytest.raises(CacError, match="is larger than"):
        take("skyra", source)


def test_hostile_text_is_searched_in_time(take: Importer, tmp_path: Path) -> None:
    endless = {"video": "a.mp4", "text": "<type>x</type> in <t>" * 50_000}
    with pytest.raises(CacError, match="evidence that cannot be read"):
        take("skyra", skyra_file(tmp_path, endless))


def png_of(width: int, height: int) -> bytes:
    """The header of a PNG of this size, and no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"), [(png_of(30_000, 30_000), "mask"), (png_of(8_500, 8_500), "too large"), (b"?", "cannot be")]
)
def test_masks_that_are_bombs_or_broken_are_refused(
    take: Importer, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "masks" / "a").mkdir(parents=True)
    (tmp_path / "masks" / "a" / "0.png").write_bytes(content)
    with pytest.raises(CacError, match=reason):
        take("masks", tmp_path / "masks", "default: melted_body")


def test_a_failed_import_leaves_the_old_dataset(take: Importer, tmp_path: Path) -> None:
    before = take("skyra", skyra_file(tmp_path, record())).clips
    with pytest.raises(CacError):
        take("skyra", skyra_file(tmp_path, record(time="[7, 8]")))

    assert {clip.clip_id: clip for clip in read_clips(tmp_path / "out")} == before
    assert not list(tmp_path.glob(".out*"))
