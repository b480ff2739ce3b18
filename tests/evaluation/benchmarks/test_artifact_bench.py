"""Artifact-Bench's three tasks on real files, with values computed by hand."""

import json

import pytest
from helpers.benchmark_cases import (
    BRIGHT,
    BRIGHTER,
    DARK,
    DIM,
    UNPARSED,
    evaluate,
    label_map,
    make_videos,
    naming,
    values,
    write_jsonl,
    yes_no,
)
from helpers.judges import BrightIsClean

from cac.errors import CacError


@pytest.fixture
def folder(tmp_path):
    make_videos(
        tmp_path / "bench" / "Task_1" / "videos",
        {"a.mp4": DARK, "b.mp4": BRIGHT, "c.mp4": BRIGHTER, "d.mp4": DIM, "e.mp4": UNPARSED},
    )
    return tmp_path / "bench"


def first_task(folder, rows):
    write_jsonl(folder / "task" / "task1_meta.jsonl", rows)


def video(name: str) -> str:
    return f"Task_1/videos/{name}.mp4"


def test_yes_is_compared_with_our_anomalous(folder):
    """Yes: a (dark, right), b (bright, wrong). No: c (right), d (dim, wrong), e (not parsed: wrong)."""
    rows = [yes_no(1, video("a"), "yes"), yes_no(2, video("b"), "yes", level="hard")]
    rows += [yes_no(3, video("c"), "no"), yes_no(4, video("d"), "no"), yes_no(5, video("e"), "no", level="hard")]
    first_task(folder, rows)
    report = evaluate("artifact-bench", folder)
    found = values(report, "RVAC")
    assert found["accuracy"] == pytest.approx(2 / 5)
    assert found["recall"] == pytest.approx(1 / 2)
    assert found["specificity"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 3) / 2, abs=1e-6)
    assert found["parse_rate"] == pytest.approx(4 / 5)
    # Scores: anomalous a .08, b .71; clean c .86, d .27, e .98. a is below all three, b below c and e: 5 of 6 pairs.
    assert found["auroc"] == pytest.approx(5 / 6, abs=1e-6)
    assert "twin_accuracy" not in found
    assert values(report, "RVAC", "easy")["accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert values(report, "RVAC", "hard")["accuracy"] == 0
    assert (report.questions, report.answered, report.videos) == (5, 5, 5)


def test_the_interval_holds_the_value_and_is_the_same_each_time(folder, tmp_path):
    first_task(folder, [yes_no(1, video("a"), "yes"), yes_no(2, video("b"), "yes"), yes_no(3, video("c"), "no")])
    first, second = evaluate("artifact-bench", folder), evaluate("artifact-bench", folder, out=tmp_path / "again")
    interval = first.results[0].metrics["balanced_accuracy"]
    assert interval["low"] < interval["value"] < interval["high"]
    assert first.results == second.results
    assert interval["value"] == pytest.approx(0.75)


def test_the_more_realistic_of_two_has_the_higher_score(folder):
    rows = [
        {"task_type": 2, "sample_id": number, "video_path": [video(a), video(b)], "answer": answer, "level": "easy"}
        for number, (a, b, answer) in enumerate(
            [("a", "b", "<Video B>"), ("c", "b", "<Video A>"), ("d", "c", "<Video A>"), ("b", "d", "<Video A>")]
        )
    ]
    write_jsonl(folder / "task2_meta.jsonl", rows)
    report = evaluate("artifact-bench", folder)
    assert values(report, "PVRC") == {"accuracy_without_ties": pytest.approx(3 / 4)}


def test_naming_is_right_if_exactly_the_right_options_are_named(folder, tmp_path):
    """The judge names one leaf for dark clips; "Extra limbs" and "More limbs" are that leaf, "Flicker" is another."""
    labels = label_map(tmp_path, Extra_limbs="LEAF", More_limbs="LEAF", Flicker="texture_jitter", Mood="ignore")
    rows = [
        naming(1, video("a"), {"Extra limbs": True, "Flicker": False}),  # exact
        naming(2, video("a"), {"Extra limbs": True, "Flicker": True}),  # a hit; no single leaf names both
        naming(3, video("d"), {"Extra limbs": True, "More limbs": False}),  # both named, one wrong; not reachable
        naming(4, video("b"), {"Extra limbs": True, "Flicker": False}),  # judged clean: names nothing
        naming(5, video("d"), {"Mood": True, "Flicker": False}),  # no leaf for the right one; names nothing
    ]
    write_jsonl(folder / "task" / "task3_meta.jsonl", rows)
    report = evaluate("artifact-bench", folder, labels)
    expected = {"exact_match": 1 / 5, "reachable": 2 / 5, "hit": 2 / 5, "answered": 3 / 5}
    assert values(report, "AID") == pytest.approx(expected)
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert [line["answer"] for line in lines[:3]] == [["Extra limbs"], ["Extra limbs"], ["Extra limbs", "More limbs"]]
    assert [line["right"] for line in lines] == [True, False, False, False, False]


def test_an_option_without_a_line_in_the_label_map_stops_with_the_lines_to_add(folder, tmp_path):
    write_jsonl(folder / "task3_meta.jsonl", [naming(1, video("a"), {"Flicker": True, "vanishing": False})])
    with pytest.raises(CacError, match=r'1 options are not in the label map(.|\n)*--label-map(.|\n)*"Flicker": ignore'):
        evaluate("artifact-bench", folder)


def test_each_content_is_judged_once_however_often_it_is_asked_about(folder, tmp_path):
    labels = label_map(tmp_path, Flicker="texture_jitter")
    first_task(folder, [yes_no(1, video("a"), "yes"), yes_no(2, video("b"), "no")])
    (folder / "copy.mp4").write_bytes((folder / video("a")).read_bytes())
    write_jsonl(
        folder / "task3_meta.jsonl",
        [naming(1, "copy.mp4", {"Flicker": True}), naming(2, video("b"), {"Flicker": True})],
    )
    judge = BrightIsClean()
    report = evaluate("artifact-bench", folder, labels, judge=judge)
    assert sum(judge.batches) == 2
    assert report.answered == 4


REFUSED = [
    (yes_no(1, video("a"), "maybe"), "`answer` is 'maybe', not yes or no"),
    (yes_no(1, video("a"), None), "`answer` is None"),
    (yes_no(1, video("a"), True), "`answer` is True"),
    (yes_no(1, video("a"), "yes", task_type=4), "`task_type` is 4"),
    (yes_no(1, video("a"), "yes", mask="m.png"), "`mask` is not known"),
    (yes_no(1, video("a"), "yes", video_path=[video("a"), video("b")]), "not one video"),
    (yes_no(1, video("a"), "yes", video_path=[]), "not one video"),
    (yes_no(1, video("a"), "yes", sample_id=None), "no `sample_id`"),
    (yes_no(1, video("a"), "yes", level=3), "`level` that is no text"),
    (naming(1, video("a"), {"Flicker": True}, answer="B"), "not letters of its options"),
    (naming(1, video("a"), {"Flicker": True, "Noise": False}, answer_idx=[1]), "`answer_idx` contradict"),
    (naming(1, video("a"), {"Flicker": True, "Noise": False}, answer_letter=["B"]), "`answer_letter` contradict"),
    (naming(1, video("a"), {"Flicker": True, "Noise": False}, answer="A,B"), "contradict"),
    (naming(1, video("a"), {"Flicker": True}, option_dic=[]), "`option_dic` contradict"),
    (naming(1, video("a"), {"Flicker": True}, option=["x: 1", "x: 2"]), "cannot be told apart"),
    ("a text", "no object"),
]


@pytest.mark.parametrize(("row", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_a_row_that_is_not_understood_is_refused_by_name(folder, tmp_path, row, reason):
    first_task(folder, [row, yes_no(99, video("a"), "yes")])
    report = evaluate("artifact-bench", folder)
    ((found, names),) = report.refused_rows.items()
    assert reason in found
    assert names == ["task1_meta.jsonl, row 1"]
    assert (report.questions, report.answered) == (1, 1)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["refused_rows"] == report.refused_rows
    with pytest.raises(CacError, match="--strict: 1 rows cannot be used"):
        evaluate("artifact-bench", folder, out=tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_a_field_that_the_label_map_knows_is_accepted(folder, tmp_path):
    labels = tmp_path / "map.yaml"
    labels.write_text('known_parts: ["`mask`"]\n')
    first_task(folder, [yes_no(1, video("a"), "yes", mask="m.png")])
    assert evaluate("artifact-bench", folder, labels).answered == 1


def test_missing_and_unreadable_videos_are_named_and_not_scored(folder, tmp_path):
    (folder / "broken.mp4").write_bytes((folder / video("a")).read_bytes()[:200])
    rows = [yes_no(1, video("a"), "yes"), yes_no(2, "gone.mp4", "no"), yes_no(3, "broken.mp4", "no")]
    first_task(folder, [*rows, yes_no(4, "../secret.mp4", "no")])
    report = evaluate("artifact-bench", folder)
    unusable = {name: reason for reason, names in report.unusable_videos.items() for name in names}
    assert unusable.keys() == {"gone.mp4", "broken.mp4", "../secret.mp4"}
    assert "no such file" in unusable["gone.mp4"]
    assert "leaves the folder" in unusable["../secret.mp4"]
    assert (report.answered, report.videos) == (1, 1)
    assert values(report, "RVAC")["accuracy"] == 1.0
    first_task(folder, rows[:1] + rows[2:])
    with pytest.raises(CacError, match=r"--strict: 1 videos cannot be used.*broken\.mp4"):
        evaluate("artifact-bench", folder, out=tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict" / "metrics.json").exists()


def test_a_clip_that_one_task_calls_both_is_not_measured(folder):
    rows = [yes_no(1, video("a"), "yes"), yes_no(2, video("b"), "yes"), yes_no(3, video("b"), "no")]
    first_task(folder, rows)
    report = evaluate("artifact-bench", folder)
    assert report.unanswered == {"called both clean and anomalous": ["RVAC/2", "RVAC/3"]}
    assert report.answered == 1


def test_nothing_that_can_be_used_is_an_error(folder):
    with pytest.raises(CacError, match="has no task"):
        evaluate("artifact-bench", folder)
    first_task(folder, [yes_no(1, video("a"), "maybe")])
    with pytest.raises(CacError, match=r"no question can be used.*maybe"):
        evaluate("artifact-bench", folder)
    first_task(folder, [yes_no(1, "gone.mp4", "yes")])
    with pytest.raises(CacError, match=r"no question can be answered.*gone\.mp4"):
        evaluate("artifact-bench", folder)
