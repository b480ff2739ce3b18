"""Small exports that once went wrong silently: each gives what a person who looks at it would say, or is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.exchange_cases import FILES, Imported, Importer, frames_of, small_video
from PIL import Image

from cac.errors import CacError
from cac.video.decode import decode
from cac.video.encode import encode

CASES = FILES / "cases"
MAP = (CASES / "map.yaml").read_text()
SKYRA_MAP = "labels: {Shape Distortion: extra_limb}"


@pytest.fixture(scope="session")
def case_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clips that the cases name: 24 frames at 8 fps of 128 by 96, and one whose name has a blank and a plus."""
    folder = tmp_path_factory.mktemp("case_videos")
    shutil.copy(CASES / "plain.mp4", folder)
    encode(folder / "a b+c.mp4", small_video(5, frames=48), 16)
    return folder


@pytest.fixture
def take_case(take: Importer, case_videos: Path) -> Importer:
    """Return a function that imports a case, or another file with the cases' videos and label map."""

    def import_it(form: str, source: str | Path, labels: str = MAP, **others: object) -> Imported:
        return take(form, CASES / source, labels, **{"videos": case_videos, **others})

    return import_it


def changed(name: str, folder: Path, *changes: tuple[str, str]) -> Path:
    """A case with some text replaced."""
    text = (CASES / name).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return folder / name


def refused_as_unclean(take_case: Importer, form: str, source: str | Path, reason: str, labels: str = MAP) -> None:
    with pytest.raises(CacError, match=reason):
        take_case(form, source, labels)


def write_json(folder: Path, content: object, name: str = "source.json") -> Path:
    (folder / name).write_text(json.dumps(content))
    return folder / name


# Label Studio


def test_label_studio_a_timeline_in_seconds_is_a_window_without_boxes(take_case: Importer) -> None:
    (clip,) = take_case("label-studio", "ls_timeline_audio.json").clips.values()

    assert [(one.leaf, one.window, one.boxes) for one in clip.anomalies] == [("extra_limb", (0.5, 1.5), ())]


def test_label_studio_a_choice_alone_is_refused_unless_the_map_has_a_line_for_it(take_case: Importer) -> None:
    refused_as_unclean(take_case, "label-studio", "ls_choice_only.json", "'anomalous', chosen or typed, is not in the")
    mapped = take_case("label-studio", "ls_choice_only.json", "labels: {anomalous: melted_body}").clips["plain"]
    ignored = take_case("label-studio", "ls_choice_only.json", "labels: {anomalous: ignore}").clips["plain"]

    assert [(one.leaf, one.window, one.boxes) for one in mapped.anomalies] == [("melted_body", None, ())]
    assert ignored.is_clean, "the map says that this choice means nothing is wrong"


REMARKS = {
    "taxonomy": ({"taxonomy": [["Body", "Hand"]]}, "Body/Hand"),
    "textarea": ({"text": ["the hand melts"]}, "q=the hand melts"),
    "rating": ({"rating": 2}, "q=2"),
    "number": ({"number": 7}, "q=7"),
}


@pytest.mark.parametrize("kind", list(REMARKS))
def test_label_studio_other_remarks_alone_are_refused_or_mapped(take_case: Importer, tmp_path: Path, kind: str) -> None:
    value, label = REMARKS[kind]
    result = {"id": "a", "type": kind, "from_name": "q", "to_name": "video", "value": value}
    source = write_json(tmp_path, [{"data": {"video": "plain.mp4"}, "annotations": [{"result": [result]}]}])

    refused_as_unclean(take_case, "label-studio", source, "chosen or typed, is not in the label map")
    (clip,) = take_case("label-studio", source, f"labels: {{{json.dumps(label)}: melted_body}}").clips.values()
    assert [(one.leaf, one.window) for one in clip.anomalies] == [("melted_body", None)]


def test_label_studio_a_kind_of_result_that_is_not_known_is_refused_by_name(
    take_case: Importer, tmp_path: Path
) -> None:
    for kind in ("keypointlabels", "brush", "pairwise", "relation", "timeserieslabels", None):
        result = {"id": "a", "type": kind, "value": {}}
        source = write_json(tmp_path, [{"data": {"video": "plain.mp4"}, "annotations": [{"result": [result]}]}])
        refused_as_unclean(take_case, "label-studio", source, f"a {kind} is neither")


def test_label_studio_a_draft_that_was_not_submitted_makes_no_clean_clip(take_case: Importer, tmp_path: Path) -> None:
    drawn = json.loads((CASES / "ls_timeline_audio.json").read_text())[0]["annotations"][0]["result"]
    task = {"data": {"video": "plain.mp4"}, "annotations": [{"result": []}], "drafts": [{"result": drawn}]}
    refused_as_unclean(take_case, "label-studio", write_json(tmp_path, [task]), "a draft that was not submitted")
    task["annotations"] = []
    refused_as_unclean(take_case, "label-studio", write_json(tmp_path, [task]), "not annotated yet")


def test_label_studio_frames_on_a_timeline_may_have_labels_of_their_own(take_case: Importer, tmp_path: Path) -> None:
    box = {"frame": 3, "enabled": False, "x": 0, "y": 0, "width": 50, "height": 50}
    region = {"id": "a", "type": "videorectangle", "value": {"sequence": [box]}}
    label = {"id": "a", "type": "labels", "value": {"labels": ["x"]}}
    source = write_json(tmp_path, [{"data": {"video": "plain.mp4"}, "annotations": [{"result": [region, label]}]}])

    assert frames_of(take_case("label-studio", source).clips["plain"], "extra_limb") == [[2]]


# CVAT


def test_cvat_a_tag_is_an_anomaly_of_its_frame_without_a_box(take_case: Importer) -> None:
    (clip,) = take_case("cvat", "cv2_tagonly.xml").clips.values()

    assert [(one.leaf, one.window, one.boxes) for one in clip.anomalies] == [("extra_limb", (0.625, 0.75), ())]


def test_cvat_a_tag_that_the_map_does_not_know_stops_the_import(take_case: Importer) -> None:
    with pytest.raises(CacError, match=r"labels are not in the label map: 'x' \(1\)"):
        take_case("cvat", "cv2_tagonly.xml", "labels: {}")


def test_cvat_a_project_is_split_by_task(take_case: Importer) -> None:
    done = take_case("cvat", "cvat_project.xml")

    assert frames_of(done.clips["plain"], "extra_limb") == [list(range(4, 11))]
    assert done.report["refused_videos"]["no such file in the folder of videos"]["examples"] == ["fast.mp4"]


def test_cvat_a_track_of_no_task_of_a_project_is_refused(take_case: Importer, tmp_path: Path) -> None:
    refused_as_unclean(
        take_case, "cvat", changed("cvat_project.xml", tmp_path, ('task_id="2"', 'task_id="9"')), "of no task"
    )


def test_cvat_one_object_in_overlapping_jobs_is_one_anomaly(take_case: Importer) -> None:
    done = take_case("cvat", "cvat_jobs.xml")

    assert frames_of(done.clips["plain"], "extra_limb") == [list(range(4, 21))]
    assert done.report["changed"]["tracks of overlapping jobs joined to one"]["count"] == 1


def test_cvat_two_objects_in_overlapping_jobs_stay_two_and_end_with_their_jobs(
    take_case: Importer, tmp_path: Path
) -> None:
    apart = 'xtl="10" ytl="10" xbr="30" ybr="30" z_order="0"></box><box frame="20"'
    source = changed(
        "cvat_jobs.xml",
        tmp_path,
        (apart, apart.replace('"10"', '"70"').replace('"30"', '"90"')),
    )

    assert frames_of(take_case("cvat", source).clips["plain"], "extra_limb") == [list(range(4, 14)), list(range(9, 21))]


def test_cvat_a_source_with_folders_is_found_by_its_name(take_case: Importer) -> None:
    (clip,) = take_case("cvat", "cvat_src.xml").clips.values()

    assert frames_of(clip, "extra_limb") == [list(range(4, 11))]


@pytest.mark.parametrize("name", ["a%20b%2Bc.mp4", "up/a+b%2Bc.mp4", "/home/share/a b+c.mp4", "x/y/a b+c"])
def test_cvat_a_source_may_be_encoded_as_in_a_url(take_case: Importer, tmp_path: Path, name: str) -> None:
    source = changed("cvat_src.xml", tmp_path, ("2024/upload/a b+c.mp4", name))

    assert len(take_case("cvat", source).clips) == 1


def test_a_name_whose_folders_say_otherwise_is_not_found(
    take_case: Importer, tmp_path: Path, case_videos: Path
) -> None:
    folder = tmp_path / "v"
    (folder / "real").mkdir(parents=True)
    shutil.copy(case_videos / "plain.mp4", folder / "real")
    source = changed("cvat_jobs.xml", tmp_path, ("<source>plain.mp4", "<source>fake/plain.mp4"))

    with pytest.raises(CacError, match="no such file"):
        take_case("cvat", source, videos=folder)


def test_two_names_that_lead_to_one_file_are_refused(take_case: Importer, tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    for number in (1, 2):
        new = ("<source>plain.mp4", f"<source>{number}/plain.mp4")
        changed("cvat_jobs.xml", folder, new).rename(folder / f"{number}.xml")

    with pytest.raises(CacError, match="different videos of one name"):
        take_case("cvat", folder)


IMAGES = """<annotations><version>1.1</version><meta><task><size>24</size><mode>annotation</mode>
<source>plain.mp4</source></task></meta>
<image id="4" name="frame_000004" width="128" height="96">{}</image>
<image id="5" name="frame_000005" width="128" height="96"></image></annotations>"""
BOX = '<box label="x" xtl="32" ytl="24" xbr="64" ybr="48" occluded="0"/>'


@pytest.mark.parametrize(
    ("shape", "change"),
    [
        (BOX, None),
        ('<polygon label="x" points="32,24;64,24;40,48"/>', "box of a polygon"),
        ('<mask label="x" rle="1" left="32" top="24" width="32" height="24"/>', "box of a mask"),
        ('<ellipse label="x" cx="48" cy="36" rx="16" ry="12"/>', "box of a ellipse"),
        (
            '<skeleton label="x"><points label="1" outside="0" points="32,24"/><points label="2" points="64,48"/>'
            '<points label="3" outside="1" points="0,0"/></skeleton>',
            "box of a skeleton",
        ),
    ],
)
def test_cvat_images_have_shapes_without_tracks(
    take_case: Importer, tmp_path: Path, shape: str, change: str | None
) -> None:
    source = tmp_path / "images.xml"
    source.write_text(IMAGES.format(shape))
    done = take_case("cvat", source)
    (anomaly,) = done.clips["plain"].anomalies

    assert [(box.frame, box.box) for box in anomaly.boxes] == [(4, (0.25, 0.25, 0.5, 0.5))]
    assert list(done.report["changed"]) == ([change] if change else [])


def test_cvat_a_tag_on_an_image_is_not_lost(take_case: Importer, tmp_path: Path) -> None:
    source = tmp_path / "images.xml"
    source.write_text(IMAGES.format('<tag label="x" source="manual"/>'))
    (anomaly,) = take_case("cvat", source).clips["plain"].anomalies

    assert (anomaly.window, anomaly.boxes) == ((0.5, 0.625), ())


def test_cvat_parts_that_are_not_known_make_no_clean_clip(take_case: Importer, tmp_path: Path) -> None:
    source = tmp_path / "images.xml"
    for shape in ("<blob label='x'/>", "<box xtl='1' ytl='1' xbr='9' ybr='9'/>"):
        source.write_text(IMAGES.format(shape))
        refused_as_unclean(take_case, "cvat", source, "not known to be clean")
    source.write_text(IMAGES.format("").replace("</annotations>", f"{BOX}</annotations>"))
    refused_as_unclean(take_case, "cvat", source, "<box> is not known")


def test_cvat_a_task_of_tags_whose_export_has_none_is_not_clean(take_case: Importer, tmp_path: Path) -> None:
    lost = ('<tag label="x" frame="5" source="manual"></tag>', "")
    source = changed("cv2_tagonly.xml", tmp_path, lost)
    assert take_case("cvat", source).clips["plain"].is_clean, "its labels are boxes, and nobody drew one"

    labels = ("<frame_filter>", "<labels><label><name>x</name><type>tag</type></label></labels><frame_filter>")
    refused_as_unclean(take_case, "cvat", changed("cv2_tagonly.xml", tmp_path, lost, labels), "its labels are tags")


# COCO


def test_coco_frames_count_from_one_where_the_numbers_prove_it(take_case: Importer) -> None:
    content = json.loads((CASES / "coco_onebased.json").read_text())
    images = {image["id"]: image["frame_id"] for image in content["images"]}
    frames = sorted(images[row["image_id"]] - 1 for row in content["annotations"])

    assert frames_of(take_case("coco", "coco_onebased.json").clips["plain"], "extra_limb") == [frames]


def test_coco_frames_are_asked_for_where_nothing_proves_them(take_case: Importer, tmp_path: Path) -> None:
    content = json.loads((CASES / "coco_onebased.json").read_text())
    content["images"], content["annotations"] = content["images"][4:6], content["annotations"][4:6]
    source = write_json(tmp_path, content)

    refused_as_unclean(take_case, "coco", source, "say which with --first-frame")
    for first in (0, 1):
        clip = take_case("coco", source, first_frame=first).clips["plain"]
        assert frames_of(clip, "extra_limb") == [[5 - first, 6 - first]]


@pytest.mark.parametrize("number", ["3", 3, 3.0])
def test_coco_ids_are_compared_as_text(take_case: Importer, tmp_path: Path, number: object) -> None:
    content = json.loads((CASES / "coco_strids.json").read_text())
    content["annotations"][0]["image_id"] = number

    clip = take_case("coco", write_json(tmp_path, content)).clips["plain"]
    assert frames_of(clip, "extra_limb") == [[2]]


def test_coco_run_lengths_that_break_off_are_refused(take_case: Importer) -> None:
    refused_as_unclean(take_case, "coco", "coco_rle.json", "a mask whose run lengths cannot be read")


def counts_of(mask: np.ndarray) -> list[int]:
    """The lengths of runs of zeros and ones, column by column, starting with zeros."""
    flat = np.concatenate([[False], mask.T.reshape(-1), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff([0, *edges, mask.size] if edges[-1] != mask.size else [0, *edges]).tolist()


def as_text(counts: list[int]) -> str:
    """Run lengths in the text form of the COCO API."""
    text = ""
    for index, count in enumerate(counts):
        value, more = count - (counts[index - 2] if index > 2 else 0), True
        while more:
            digit = value & 31
            value >>= 5
            more = value != (-1 if digit & 16 else 0)
            text += chr((digit | (32 if more else 0)) + 48)
    return text


@pytest.mark.parametrize("form", [list, as_text], ids=["numbers", "text"])
def test_coco_a_mask_without_a_bbox_has_the_box_around_it(take_case: Importer, tmp_path: Path, form: type) -> None:
    content = json.loads((CASES / "coco_rle.json").read_text())
    mask = np.zeros((96, 128), bool)
    mask[24:48, 32:64] = True
    mask[30, 40] = False
    content["annotations"][0]["segmentation"] = {"size": [96, 128], "counts": form(counts_of(mask))}
    done = take_case("coco", write_json(tmp_path, content))

    assert done.clips["plain"].anomalies[0].boxes[0].box == (0.25, 0.25, 0.5, 0.5)
    assert set(done.report["changed"]) == {"box of a mask", "one box for a crowd"}


def test_coco_a_polygon_without_a_bbox_has_the_box_around_it(take_case: Importer, tmp_path: Path) -> None:
    content = json.loads((CASES / "coco_rle.json").read_text())
    content["annotations"][0]["segmentation"] = [[32, 24, 64, 24, 40, 48], [33, 25, 34, 26]]
    (anomaly,) = take_case("coco", write_json(tmp_path, content)).clips["plain"].anomalies

    assert anomaly.boxes[0].box == (0.25, 0.25, 0.5, 0.5)


def test_coco_tracks_in_one_row_are_read(take_case: Importer, tmp_path: Path) -> None:
    boxes: list[list[int] | None] = [None] * 24
    boxes[3] = boxes[4] = [32, 24, 32, 24]
    names = [f"plain/{number:05d}.jpg" for number in range(24)]
    video = {"id": 1, "length": 24, "width": 128, "height": 96, "file_names": names}
    row = {"id": 1, "video_id": 1, "category_id": 1, "bboxes": boxes, "segmentations": [None] * 24, "iscrowd": 0}
    categories = [{"id": 1, "name": "x"}]
    source = write_json(tmp_path, {"videos": [video], "categories": categories, "annotations": [row]})

    assert frames_of(take_case("coco", source).clips["plain"], "extra_limb") == [[3, 4]]
    row["bboxes"] = boxes[:20]
    source = write_json(tmp_path, {"videos": [video], "categories": categories, "annotations": [row]})
    refused_as_unclean(take_case, "coco", source, "more or fewer entries than its video has images")


def test_coco_parts_that_are_not_known_make_no_clean_clip_unless_the_map_knows_them(
    take_case: Importer, tmp_path: Path
) -> None:
    content = json.loads((CASES / "coco_strids.json").read_text()) | {"annotations": []}
    assert take_case("coco", write_json(tmp_path, content)).clips["plain"].is_clean

    tagged = content | {"images": [image | {"tags": ["bad"]} for image in content["images"]]}
    refused_as_unclean(take_case, "coco", write_json(tmp_path, tagged), "an image's `tags` is not known")
    known = 'known_parts: ["an image\'s `tags`"]'
    assert take_case("coco", write_json(tmp_path, tagged), known).clips["plain"].is_clean

    defects = content | {"defects": [{"video_id": 1}]}
    refused_as_unclean(take_case, "coco", write_json(tmp_path, defects), "`defects` is not known")


# Skyra


def frame_folder(folder: Path, count: int = 24, seconds: float | None = 0.125, seed: int = 17) -> Path:
    """Write numbered frames, and their times if `seconds` apart are given; return the folder."""
    folder.mkdir(parents=True)
    for number, pixels in enumerate(small_video(seed, count), start=1):
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{number}.png")
    if seconds is not None:
        (folder / "timestamps.txt").write_text("".join(f"{number * seconds:.6f}\n" for number in range(count)))
    return folder


def test_skyra_a_folder_of_frames_is_the_clip(take_case: Importer, tmp_path: Path) -> None:
    frame_folder(tmp_path / "frames" / "Fake" / "Wan" / "plain")
    (clip,) = take_case("skyra", "sky_images.json", SKYRA_MAP, videos=tmp_path / "frames").clips.values()

    assert (clip.fps, clip.frame_count, clip.generator, clip.pair_id) == (8, 24, "Wan", "plain")
    assert frames_of(clip, "extra_limb") == [list(range(4, 12))]
    decoded = decode(tmp_path / "out" / clip.path).frames
    assert np.abs(decoded.astype(int) - small_video(17, 24)).mean() < 3


def test_skyra_frames_without_times_have_those_of_the_question(take_case: Importer, tmp_path: Path) -> None:
    frame_folder(tmp_path / "frames" / "plain", count=2, seconds=None)
    source = changed("sky_images.json", tmp_path, ("[0.5, 1.5]", "[0.25, 0.5]"))
    (clip,) = take_case("skyra", source, SKYRA_MAP, videos=tmp_path / "frames").clips.values()

    assert (clip.fps, clip.frame_count) == (4, 2)
    assert frames_of(clip, "extra_limb") == [[1]]


def test_skyra_a_fake_whose_evidence_is_ignored_is_not_clean(take_case: Importer) -> None:
    refused_as_unclean(take_case, "skyra", "sky_images.json", "called fake, but all that it names is ignored")


def test_skyra_regions_that_were_cleared_on_a_real_clip_leave_it_clean(take_case: Importer) -> None:
    assert take_case("skyra", "sky_real_type.json").clips["plain"].is_clean
    assert take_case("skyra", "sky_real_type.json", "labels: {}").clips["plain"].is_clean


def test_skyra_a_box_of_zeros_says_that_there_is_no_place(take_case: Importer, tmp_path: Path) -> None:
    source = changed(
        "sky_real_type.json", tmp_path, ("[0.1, 0.1, 0.5, 0.5]", "[0.0, 0.0, 0.0, 0.0]"), ("Real<", "Fake<")
    )
    (anomaly,) = take_case("skyra", source, SKYRA_MAP).clips["plain"].anomalies

    assert (anomaly.window, anomaly.boxes) == ((0.5, 1.5), ())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("the hand melts", "neither real nor fake"),
        ("<artifact>hand</artifact><answer>Real</answer>", "a tag <artifact>"),
        ("<type>hand</type> somewhere<answer>Real</answer>", "evidence that cannot be read"),
        ("<answer>Real</answer><answer>Fake</answer>", "both clean and anomalous"),
        ("<answer>Fake</answer>", "called fake, but nothing says"),
    ],
)
def test_skyra_only_a_clear_answer_makes_a_clean_clip(
    take_case: Importer, tmp_path: Path, text: str, reason: str
) -> None:
    refused_as_unclean(take_case, "skyra", write_json(tmp_path, [{"video": "plain.mp4", "text": text}]), reason)


def test_skyra_two_records_that_contradict_each_other_are_refused(take_case: Importer, tmp_path: Path) -> None:
    region = "<type>Shape Distortion</type> in <t>[0.5, 1.5]</t> at <bbox>[0.1, 0.1, 0.5, 0.5]</bbox>"
    for text in (region, f"{region}<answer>Fake</answer>"):
        records = [{"video": "plain.mp4", "text": one} for one in ("<answer>Real</answer>", text)]
        refused_as_unclean(take_case, "skyra", write_json(tmp_path, records), "both clean and anomalous", SKYRA_MAP)


def test_skyra_the_index_of_its_benchmark_gives_only_real_clips(take_case: Importer, tmp_path: Path) -> None:
    frame_folder(tmp_path / "v" / "Real" / "one")
    frame_folder(tmp_path / "v" / "Fake" / "LTX" / "one", seed=18)
    source = write_json(tmp_path, {"Real": ["/data/Real/one"], "LTX": ["/data/Fake/LTX/one"]})
    done = take_case("skyra", source, videos=tmp_path / "v")

    assert [(clip.is_clean, clip.pair_id) for clip in done.clips.values()] == [(True, "one")]
    assert list(done.report["refused_videos"]) == ["called fake, but nothing says what is wrong and where"]


# Encodings and containers of every text reader


def test_a_compressed_export_is_read(take_case: Importer) -> None:
    assert take_case("skyra", "sky.jsonl.gz").clips["plain"].is_clean


def test_a_compressed_export_that_breaks_off_is_refused(take_case: Importer, tmp_path: Path) -> None:
    (tmp_path / "cut.json.gz").write_bytes((CASES / "sky.jsonl.gz").read_bytes()[:90])
    refused_as_unclean(take_case, "skyra", tmp_path / "cut.json.gz", "not a whole gzip file")


ENCODED = {"coco_strids.json": "coco", "ls_timeline_audio.json": "label-studio", "cvat_jobs.xml": "cvat"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", [*ENCODED, "sky.jsonl"])
def test_every_text_reader_understands_marks_and_line_ends_of_windows(
    take_case: Importer, tmp_path: Path, encoding: str, name: str
) -> None:
    record = {"video": "plain.mp4", "text": "<answer>Real</answer>"}
    text = json.dumps(record) + "\n\n" if name == "sky.jsonl" else (CASES / name).read_text()
    content = text.replace("\n", "\r\n").encode(encoding)
    (tmp_path / name).write_bytes(content)

    assert set(take_case(ENCODED.get(name, "skyra"), tmp_path / name).clips) == {"plain"}


# Folders of frames and mask videos


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (None, "a folder of frames without times"),
        ([0, 1, 2], "3 times for 24 frames"),
        ([0.1 * number + (number > 9) for number in range(24)], "uneven times"),
        ([5 + 0.1 * number for number in range(24)], "do not start near 0"),
        ([0.0] * 24, "do not start near 0 or do not rise"),
    ],
)
def test_frames_whose_times_are_missing_or_uneven_are_refused(
    take_case: Importer, tmp_path: Path, times: list[float] | None, reason: str
) -> None:
    folder = frame_folder(tmp_path / "v" / "plain", seconds=None)
    if times is not None:
        (folder / "timestamps.txt").write_text("\n".join(map(str, times)))
    source = changed("sky_images.json", tmp_path, ("[T=0.00s] <image>", ""))
    with pytest.raises(CacError, match=reason):
        take_case("skyra", source, SKYRA_MAP, videos=tmp_path / "v")


def test_frames_without_times_have_the_rate_that_is_given(take_case: Importer, tmp_path: Path) -> None:
    frame_folder(tmp_path / "v" / "plain", seconds=None)
    source = changed("cvat_jobs.xml", tmp_path, ("plain.mp4", "plain"))
    (clip,) = take_case("cvat", source, videos=tmp_path / "v", frame_rate=8.0).clips.values()

    assert (clip.fps, frames_of(clip, "extra_limb")) == (8, [list(range(4, 21))])


def test_frames_and_a_file_of_one_name_are_not_guessed_between(
    take_case: Importer, tmp_path: Path, case_videos: Path
) -> None:
    frame_folder(tmp_path / "v" / "plain")
    shutil.copy(case_videos / "plain.mp4", tmp_path / "v")
    with pytest.raises(CacError, match="several videos have this name"):
        take_case("skyra", "sky_images.json", SKYRA_MAP, videos=tmp_path / "v")


def mask_video(path: Path, frames: range, count: int = 24) -> None:
    path.parent.mkdir(exist_ok=True)
    pixels = np.zeros((count, 48, 64, 3), np.uint8)
    pixels[frames.start : frames.stop, 12:24, 16:48] = 255
    encode(path, pixels, 8)


def test_masks_may_be_a_video(take_case: Importer, tmp_path: Path) -> None:
    mask_video(tmp_path / "masks" / "plain.mp4", range(3, 6))
    (anomaly,) = take_case("masks", tmp_path / "masks", "default: melted_body").clips["plain"].anomalies

    assert [box.frame for box in anomaly.boxes] == [3, 4, 5]
    assert anomaly.boxes[0].box == (0.25, 0.25, 0.75, 0.5)


def test_masks_of_a_video_of_another_length_are_refused(take_case: Importer, tmp_path: Path) -> None:
    mask_video(tmp_path / "masks" / "plain.mp4", range(3, 6), count=20)
    refused_as_unclean(take_case, "masks", tmp_path / "masks", "more or fewer frames", "default: melted_body")


# The table, the contact sheet and --strict


def test_the_report_counts_the_clips_of_each_file(take_case: Importer, tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name in ("cvat_jobs.xml", "cvat_src.xml", "cvat_project.xml"):
        new = ("<source>plain.mp4", "<source>gone.mp4")
        changed(name, folder, *([new] if name == "cvat_project.xml" else []))
    done = take_case("cvat", folder)

    assert done.report["sources"] == {
        "cvat_jobs.xml": {"read": 1, "clean": 0, "anomalous": 1, "refused": {}},
        "cvat_src.xml": {"read": 1, "clean": 0, "anomalous": 1, "refused": {}},
        "cvat_project.xml": {
            "read": 2,
            "clean": 0,
            "anomalous": 0,
            "refused": {"no such file in the folder of videos": 2},
        },
    }
    with Image.open(done.folder / "import_sheet.png") as sheet:
        assert sheet.height > 2 * 96


@pytest.mark.parametrize("source", ["cvat_project.xml", "cvat_jobs.xml"])
def test_strict_writes_nothing_if_anything_is_refused(take_case: Importer, tmp_path: Path, source: str) -> None:
    if source == "cvat_jobs.xml":
        assert take_case("cvat", source, strict=True).clips
        return
    with pytest.raises(CacError, match="--strict: 1 videos or annotations were refused"):
        take_case("cvat", source, strict=True)
    assert not (tmp_path / "out").exists()
