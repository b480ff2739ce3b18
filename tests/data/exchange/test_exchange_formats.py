"""Each format as its tool writes it: the fixture files give the anomalies that the tool showed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.exchange_cases import FILES, UNICODE, Importer, frames_of
from PIL import Image

from cac.errors import CacError


def edited(name: str, folder: Path, *changes: tuple[str, str]) -> Path:
    """A fixture file with some text replaced."""
    text = (FILES / name).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return folder / name


def test_cvat_boxes_are_interpolated_from_keyframes_and_not_read(take: Importer) -> None:
    clip = take("cvat", FILES / "cvat_keyframes.xml").clips["a"]
    boxes = {box.frame: box.box for box in clip.anomalies[0].boxes}

    assert boxes[4] == (0, 0, 0.25, 0.25)
    assert boxes[5] == (0.0625, 0, 0.3125, 0.25), "the stale box between keyframes is not used"
    assert clip.anomalies[0].window == (0.5, 1.0)


def test_cvat_outside_ends_a_track_and_the_last_keyframe_does_not(take: Importer) -> None:
    clip = take("cvat", FILES / "cvat_keyframes.xml").clips["a"]

    assert frames_of(clip, "extra_limb") == [[4, 5, 6, 7], [20, 21, 22, 23]]


def test_cvat_attributes_choose_the_leaf_for_as_long_as_they_hold(take: Importer) -> None:
    done = take("cvat", FILES / "cvat_keyframes.xml")

    assert frames_of(done.clips["a"], "melted_body") == [[10, 11, 12, 13]]
    assert done.report["annotations"] | {"kept": 2, "ignored": 1, "read": 3} == done.report["annotations"]


def test_cvat_a_track_whose_attribute_does_not_matter_stays_one_anomaly(take: Importer) -> None:
    labels = "labels: {Extra leg: ignore, Person: melted_body}"
    clip = take("cvat", FILES / "cvat_keyframes.xml", labels).clips["a"]

    assert frames_of(clip, "melted_body") == [list(range(10, 24))]


VIDEO_FRAMES = [(' frame="0"', ' frame="02"'), (' frame="1"', ' frame="05"'), (' frame="4"', ' frame="14"')]


@pytest.mark.parametrize("changes", [[], [(' frame="2"', ' frame="8"'), *VIDEO_FRAMES]], ids=["task", "video"])
def test_cvat_frame_step_and_start_are_honoured_however_frames_are_counted(
    take: Importer, tmp_path: Path, changes: list[tuple[str, str]]
) -> None:
    clip = take("cvat", edited("cvat_step.xml", tmp_path, *changes)).clips["a"]
    left = {box.frame: box.box[0] for box in clip.anomalies[0].boxes}

    assert frames_of(clip, "extra_limb") == [list(range(2, 14))]
    assert left[5] == pytest.approx(12 / 64, abs=1e-6)
    assert left[13] == 24 / 64


def test_cvat_frame_numbers_that_cannot_be_are_refused(take: Importer, tmp_path: Path) -> None:
    source = edited("cvat_step.xml", tmp_path, (' frame="4"', ' frame="400"'))
    with pytest.raises(CacError, match="fit neither the video nor the task"):
        take("cvat", source)


def test_cvat_shapes_that_have_no_upright_box_are_refused_by_name(take: Importer, tmp_path: Path) -> None:
    blob = '<track id="2" label="Blob"><blob frame="0" keyframe="1" points="1,1;2,2"/></track>'
    rotated = blob.replace("<blob", "<box rotation='30' xtl='1' ytl='1' xbr='9' ybr='9'")
    source = edited("cvat_keyframes.xml", tmp_path, ("</annotations>", blob + rotated + "</annotations>"))
    refused = take("cvat", source).report["refused_marks"]

    assert refused == {
        "a blob, which this reader does not know": {"count": 1, "examples": ["a.mp4"]},
        "a rotated box": {"count": 1, "examples": ["a.mp4"]},
    }


def test_label_studio_keyframes_and_gaps(take: Importer) -> None:
    clip = take("label-studio", FILES / "label_studio.json").clips["a"]
    boxes = {box.frame: box.box for anomaly in clip.anomalies for box in anomaly.boxes if anomaly.leaf == "extra_limb"}

    assert frames_of(clip, "extra_limb") == [[4, 5, 6, 7, 8], [20, 21, 22, 23]]
    assert boxes[6] == (0.125, 0, 0.375, 0.25), "frames count from 1 and are interpolated"


def test_label_studio_ranges_are_windows_without_boxes(take: Importer) -> None:
    done = take("label-studio", FILES / "label_studio.json")
    flicker = next(anomaly for anomaly in done.clips["a"].anomalies if anomaly.leaf == "colour_swap")

    assert flicker.window == (2 / 8, 5 / 8), "frames 3 to 5, counted from 1"
    assert flicker.boxes == ()


def test_label_studio_an_empty_answer_is_clean_and_no_answer_is_not(take: Importer) -> None:
    done = take("label-studio", FILES / "label_studio.json")

    assert set(done.clips) == {"a", "sub_c-" + next(i for i in done.clips if i != "a")[-8:]}
    assert [clip.is_clean for clip in done.clips.values()] == [False, True]
    assert done.clips["a"].generator == "Wan2.1"
    assert "no such file in the folder of videos" not in done.report["refused_videos"]
    assert done.report["refused_videos"]["not annotated yet"]["examples"] == ["b.mp4"]


def test_label_studio_frames_of_another_rate_are_rescaled(take: Importer, tmp_path: Path) -> None:
    source = edited("label_studio.json", tmp_path, ('"framesCount": 24', '"framesCount": 72'))
    done = take("label-studio", source)

    assert frames_of(done.clips["a"], "extra_limb") == [[1, 2, 3], list(range(7, 24))]
    assert "frame numbers rescaled to the file's" in done.report["changed"]


def test_label_studio_choices_of_a_region_reach_the_label_map(take: Importer) -> None:
    labels = "labels: {Extra leg: ignore, Extra leg.sure=no: missing_limb, Flicker: ignore}"

    assert len(take("label-studio", FILES / "label_studio.json", labels).clips["a"].anomalies) == 2


def test_label_studio_annotators_who_differ_need_a_ground_truth(take: Importer, tmp_path: Path) -> None:
    choice = '{"id": "x", "type": "choices", "from_name": "q", "value": {"choices": ["extra_limb"]}}'
    second = f'"annotations": [{{"id": 9, "ground_truth": TRUTH, "result": []}}, {{"id": 8, "result": [{choice}]}}]'
    for truth, kept in (("true", 2), ("false", 1)):
        new = second.replace("TRUTH", truth)
        source = edited("label_studio.json", tmp_path, ('"annotations": [{"id": 8, "result": []}]', new))
        assert len(take("label-studio", source).clips) == kept


def test_label_studio_annotators_who_agree_need_none(take: Importer, tmp_path: Path) -> None:
    both = '"annotations": [{"id": 8, "result": []}, {"id": 9, "result": []}]'
    source = edited("label_studio.json", tmp_path, ('"annotations": [{"id": 8, "result": []}]', both))

    assert [clip.is_clean for clip in take("label-studio", source).clips.values()] == [False, True]


def test_coco_tracks_of_a_video(take: Importer) -> None:
    done = take("coco", FILES / "coco_video.json")
    clip = done.clips["a"]

    assert frames_of(clip, "extra_limb") == [[0], [0, 1], [3]]
    assert clip.anomalies[1].boxes[1].box == (0.25, 0.25, 0.5, 0.5)
    assert clip.anomalies[2].boxes[0].box == (0.25, 0.25, 1, 0.5), "cut to the frame"
    assert done.report["changed"]["boxes cut to the frame"]["count"] == 1
    assert clip.generator == "Sora"
    assert done.clips["b"].is_clean


def test_coco_frames_without_a_video_belong_to_the_files_own_name(take: Importer, tmp_path: Path) -> None:
    source = tmp_path / "b.json"
    source.write_text((FILES / "coco_frames.json").read_text())
    done = take("coco", source, first_frame=0)

    assert frames_of(done.clips["b"], "extra_limb") == [[7, 8]], "`occluded` changes, the track stays one"
    assert done.clips["b"].generator == "unknown"


def test_coco_folders_of_frames_are_videos(take: Importer, tmp_path: Path) -> None:
    source = edited("coco_frames.json", tmp_path, ('"frame_', '"sub/c/frame_'))
    (clip,) = take("coco", source, first_frame=0).clips.values()

    assert clip.path.startswith("clips/sub_c-")


def test_coco_two_boxes_in_a_frame_need_a_track_id(take: Importer, tmp_path: Path) -> None:
    changes = [(f', "track_id": {track}', "") for track in (5, 6)]
    done = take("coco", edited("coco_video.json", tmp_path, *changes))

    assert set(done.clips) == {"b"}
    assert "not known to be clean: a label with several boxes" in next(iter(done.report["refused_videos"]))


def test_skyra_evidence_of_the_answer_only(take: Importer) -> None:
    done = take("skyra", FILES / "skyra.jsonl")
    clip = done.clips["a"]

    assert frames_of(clip, "extra_limb") == [[4, 5, 6, 7]]
    assert {box.box for box in clip.anomalies[0].boxes} == {(0.1, 0.2, 0.5, 0.6)}
    assert (clip.source, clip.generator, clip.pair_id) == ("skyra", "Kling", "a")
    assert done.clips["b"].is_clean, "the example in the question is no evidence"


def test_skyra_a_fake_without_evidence_is_not_clean(take: Importer) -> None:
    report = take("skyra", FILES / "skyra.jsonl").report

    assert report["refused_videos"]["called fake, but nothing says what is wrong and where"]["count"] == 1


def test_skyra_a_window_between_two_frames_has_the_nearest(take: Importer, tmp_path: Path) -> None:
    source = edited("skyra.jsonl", tmp_path, ("[0.5, 1.0]", "[0.51, 0.52]"))

    assert frames_of(take("skyra", source).clips["a"], "extra_limb") == [[4]]


@pytest.fixture
def mask_folder(tmp_path: Path) -> Callable[[str, dict[int, int]], Path]:
    """Return a function that writes a folder of masks, each zero but for some value in a corner."""

    def write(name: str, values: dict[int, int]) -> Path:
        (tmp_path / "masks" / name).mkdir(parents=True)
        for number, value in values.items():
            pixels = np.zeros((12, 16), np.uint8)
            pixels[3:6, 4:12] = value
            Image.fromarray(pixels).save(tmp_path / "masks" / name / f"mask_{number:05d}.png")
        return tmp_path / "masks"

    return write


def test_masks_each_run_is_an_anomaly(take: Importer, mask_folder: Callable) -> None:
    source = mask_folder("a", {0: 0, 3: 1, 4: 255, 5: 0, 9: 255})
    mask_folder("b", {0: 0, 1: 0})
    done = take("masks", source, "default: melted_body")

    assert frames_of(done.clips["a"], "melted_body") == [[3, 4], [9]]
    assert done.clips["a"].anomalies[0].boxes[0].box == (0.25, 0.25, 0.75, 0.5)
    assert done.clips["b"].is_clean


def test_masks_as_many_as_frames_are_taken_in_order(take: Importer, mask_folder: Callable) -> None:
    source = mask_folder(UNICODE, {number: int(number == 24) for number in range(1, 25)})
    (clip,) = take("masks", source, "default: melted_body").clips.values()

    assert frames_of(clip, "melted_body") == [[23]]


def test_masks_labels_come_from_the_file_beside_them(take: Importer, mask_folder: Callable) -> None:
    source = mask_folder("a", {0: 0, 3: 1})
    (source / "labels.json").write_text('{"a": "Flicker"}')

    assert frames_of(take("masks", source).clips["a"], "colour_swap") == [[3]]


def test_masks_without_any_label_are_an_error(take: Importer, mask_folder: Callable) -> None:
    with pytest.raises(CacError, match="Add `default: LEAF`"):
        take("masks", mask_folder("a", {3: 1}))
