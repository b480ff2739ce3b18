"""ViF-Bench on real folders of frames and videos: paired metrics, and mAM and mLGM where there is evidence, by hand."""

import json
import math

import pytest
from helpers.benchmark_cases import (
    BRIGHT,
    BRIGHTER,
    DARK,
    DIM,
    UNPARSED,
    evaluate,
    label_map,
    make_frames,
    make_videos,
    values,
)

from cac.errors import CacError

ROOT = "/somewhere/test_normalised"


def write_index(folder, index):
    folder.mkdir(exist_ok=True)
    (folder / "test_index.json").write_text(json.dumps(index))


def record(video: str, text: str) -> dict[str, str]:
    return {"video": video, "text": text}


def evidence(window: str, box: str, label: str = "Shape Distortion") -> str:
    return f"<think><type>{label}</type> in <t>{window}</t> at <bbox>{box}</bbox></think><answer>Fake</answer>"


def test_each_generator_is_compared_with_its_real_clips_and_the_mean_is_given(tmp_path):
    """Real 1 is right, real 2 is judged anomalous. Of gen-a both fakes are found, of gen-b one of two."""
    folder = tmp_path / "bench"
    clips = {"Real/1": BRIGHT, "Real/2": DIM, "Fake/gen-a/1": DARK, "Fake/gen-a/2": DARK + 10}
    clips |= {"Fake/gen-b/1": DARK + 20, "Fake/gen-b/2": BRIGHTER, "Fake/gen-b/9": DARK + 30}
    for name, brightness in clips.items():
        make_frames(folder / name, brightness)
    index = {
        "Real": [f"{ROOT}/Real/1", f"{ROOT}/Real/2", f"{ROOT}/full-videos/Real/1"],
        "gen-a": [f"{ROOT}/Fake/gen-a/1", f"{ROOT}/Fake/gen-a/2"],
        "gen-b": [f"{ROOT}/Fake/gen-b/1", f"{ROOT}/Fake/gen-b/2", f"{ROOT}/Fake/gen-b/9"],
    }
    write_index(folder, index)
    report = evaluate("vif-bench", folder)
    task = "real or fake"
    everything = values(report, task)
    assert everything["recall"] == pytest.approx(4 / 5)
    assert everything["specificity"] == pytest.approx(1 / 2)
    # Real 1 scores .71 and real 2 .27; fakes of 1: .08, .16; of 2: .12, .86. Three of four are below their real clip.
    assert everything["twin_accuracy"] == pytest.approx(3 / 4)
    assert values(report, task, "gen-a")["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    # The fake 9 has no real clip, so its generator is measured without it, as in the benchmark's own evaluation.
    assert values(report, task, "gen-b")["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    mean = values(report, task, "mean over subsets")
    assert mean["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert mean["recall"] == pytest.approx((1 + 1 / 2) / 2)
    assert mean["f1"] == pytest.approx((2 * 2 / (2 * 2 + 1) + 2 * 1 / (2 * 1 + 1 + 1)) / 2)
    assert list(report.skipped.values()) == [["somewhere/test_normalised/full-videos/Real/1"]]
    assert report.answered == 7


def test_frames_without_times_are_named_and_not_scored(tmp_path):
    folder = tmp_path / "bench"
    make_frames(folder / "Real/1", BRIGHT)
    make_frames(folder / "gen/1", DARK, times=False)
    write_index(folder, {"Real": ["/x/Real/1"], "gen": ["/x/gen/1"]})
    report = evaluate("vif-bench", folder)
    ((reason, names),) = report.unusable_videos.items()
    assert "without times" in reason
    assert names == ["x/gen/1"]
    assert report.answered == 1


def test_mam_and_mlgm_where_there_are_windows_and_boxes(tmp_path):
    """The judge sees [0.5, 1.0] and the box [.1, .1, .5, .5] in dark clips; the truth is half of that.

    Verdicts: the fakes a and b and the real c are right, the real d is not parsed. tIoU is .5 for both fakes, the box's
    IoU .75; b has no box. So mAM is (.75 + .5 + .75) / 3 and mLGM -(ln .25 + ln .5 + ln .25) / 3.
    """
    folder = tmp_path / "bench"
    make_videos(folder, {"a.mp4": DARK, "b.mp4": DARK + 20, "c.mp4": BRIGHT, "d.mp4": UNPARSED})
    records = [
        record("a.mp4", evidence("[0.5, 0.75]", "[0.1, 0.1, 0.5, 0.4]")),
        record("b.mp4", evidence("[0.75, 1.0]", "[0, 0, 0, 0]")),
        record("c.mp4", "<think>looked at and cleared</think><answer>Real</answer>"),
        record("d.mp4", "<answer>Real</answer>"),
    ]
    (folder / "records.json").write_text(json.dumps(records))
    report = evaluate("vif-bench", folder, label_map(tmp_path, Shape_Distortion="LEAF"))
    found = values(report, "when and where")
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["temporal_iou"] == pytest.approx(1 / 2)
    assert found["spatial_iou"] == pytest.approx(3 / 4)
    assert found["mam"] == pytest.approx((0.75 + 0.5 + 0.75) / 3, abs=1e-6)
    assert found["mlgm"] == pytest.approx(-(2 * math.log(0.25) + math.log(0.5)) / 3, abs=1e-6)
    assert found["leaf_accuracy"] == 1.0
    assert found["joint_accuracy"] == pytest.approx(3 / 4)
    assert report.unlocated == {}


def test_evidence_that_does_not_fit_its_clip_is_named_and_not_measured(tmp_path):
    folder = tmp_path / "bench"
    make_videos(folder, {"a.mp4": DARK, "b.mp4": DARK + 20, "c.mp4": DARK + 40})
    records = [record("a.mp4", evidence("[0.5, 0.75]", "[0.1, 0.1, 0.3, 0.5]"))]
    records += [record("b.mp4", evidence("[7.5, 9]", "[0.1, 0.1, 0.3, 0.5]"))]
    records += [record("c.mp4", evidence("[0.5, 0.75]", "[0.1, 0.1, 0.3, 0.5]", "Style"))]
    (folder / "records.json").write_text(json.dumps(records))
    report = evaluate("vif-bench", folder, label_map(tmp_path, Shape_Distortion="LEAF", Style="ignore"))
    assert report.unlocated == {
        "outside the clip: all its frames or its window": ["b.mp4"],
        "all that it names is ignored": ["c.mp4"],
    }
    assert [result.questions for result in report.results if result.task == "when and where"] == [1]
    assert values(report, "real or fake")["recall"] == 1.0


def test_an_artefact_without_a_line_in_the_label_map_stops(tmp_path):
    folder = tmp_path / "bench"
    make_videos(folder, {"a.mp4": DARK})
    (folder / "records.json").write_text(json.dumps([record("a.mp4", evidence("[0, 1]", "[0, 0, 1, 1]"))]))
    with pytest.raises(CacError, match=r"'Shape Distortion' \(1\)(.|\n)*--label-map"):
        evaluate("vif-bench", folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<answer>Real</answer> <answer>Fake</answer>", "called both clean and anomalous"),
        ("it seems fine", "neither real nor fake"),
        ("<answer>Unsure</answer>", "neither real nor fake"),
        ("<answer>Real</answer><mask>x</mask>", "a tag <mask>"),
        (evidence("[0, 1, 2]", "[0, 0, 1, 1]"), "a time is not start and end"),
        (evidence("[0, 1]", "[0, 0, 9, 9]"), "are these pixels"),
    ],
)
def test_a_text_that_is_not_understood_is_refused_by_name(tmp_path, text, reason):
    folder = tmp_path / "bench"
    make_videos(folder, {"a.mp4": DARK, "b.mp4": BRIGHT})
    records = [record("a.mp4", text), record("b.mp4", "<answer>Real</answer>")]
    (folder / "records.json").write_text(json.dumps(records))
    report = evaluate("vif-bench", folder, label_map(tmp_path, Shape_Distortion="LEAF"))
    ((found, names),) = report.refused_rows.items()
    assert reason in found
    assert names == ["a.mp4"]
    assert report.answered == 1


def test_a_clip_in_the_index_as_real_and_as_fake_is_refused(tmp_path):
    folder = tmp_path / "bench"
    make_frames(folder / "1", BRIGHT)
    make_frames(folder / "2", BRIGHTER)
    write_index(folder, {"Real": ["1", "2"], "gen": ["1"]})
    report = evaluate("vif-bench", folder)
    assert report.refused_rows == {"called both clean and anomalous": ["1"]}
