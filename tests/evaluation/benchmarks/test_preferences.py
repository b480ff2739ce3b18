"""Preference pairs: VideoGen-RewardBench and GenAI-Bench on real files, and both accuracies computed by hand."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.benchmark_cases import BRIGHT, BRIGHTER, DARK, DIM, evaluate, make_videos, pair, values, write_pairs
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.errors import CacError
from cac.evaluation.benchmarks.preferences import accuracy_with_ties, accuracy_without_ties

ALL = np.ones((1, 9), dtype=int)
PEOPLE = np.array([1, -1, 0, 1, -1, 0, 1, -1, 0])
MODEL = np.array([0.8, 0.1, -0.4, 0.3, -0.3, -0.1, 0.3, -0.1, -0.1])


@pytest.fixture
def folder(tmp_path):
    make_videos(tmp_path / "bench" / "videos", {"a.mp4": DARK, "b.mp4": BRIGHT, "c.mp4": BRIGHTER, "d.mp4": DIM})
    return tmp_path / "bench"


def test_the_example_of_the_benchmarks_own_code():
    """Its `calc_accuracy.py` prints 0.667 and 0.833 for these: with a threshold of 0.1, four of nine are ties."""
    assert accuracy_with_ties(PEOPLE, MODEL, ALL) == pytest.approx([6 / 9])
    assert accuracy_without_ties(PEOPLE, MODEL, ALL) == pytest.approx([5 / 6])


def test_equal_scores_are_wrong_without_ties_and_a_tie_with_them():
    people, model = np.array([1, 0]), np.array([0.0, 0.0])
    assert accuracy_without_ties(people, model, np.ones((1, 2))) == [0.0]
    assert accuracy_with_ties(people, model, np.ones((1, 2))) == [0.5]


differences = st.sampled_from([-0.5, -0.25, -0.125, 0.0, 0.125, 0.25, 0.5, 0.75])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([-1, 0, 1]), differences, st.integers(0, 3)), min_size=1, max_size=12))
def test_the_best_threshold_is_that_of_trying_every_one(rows):
    people, model, weights = (np.array(column) for column in zip(*rows, strict=True))
    if not weights.sum():
        return
    tried = []
    for threshold in np.abs(model):
        said = np.where(np.abs(model) <= threshold, 0, np.sign(model))
        tried.append((weights * (said == people)).sum() / weights.sum())
    assert accuracy_with_ties(people, model, weights[None]) == pytest.approx([max(tried)])


def test_each_respect_is_measured_by_itself(folder):
    """Scores: a .08, d .27, b .71, c .86."""
    rows = [
        pair("videos/a.mp4", "videos/b.mp4", "B", TA="same"),  # right; a tie in TA
        pair("videos/c.mp4", "./videos/b.mp4", "A", "a cat"),  # right
        pair("videos/d.mp4", "videos/a.mp4", "B", "a cat", TA="A"),  # wrong; right in TA
        pair("videos/b.mp4", "videos/c.mp4", "same", "a bird", TA="B"),  # a difference of .15: the smallest
    ]
    write_pairs(folder / "videogen-rewardbench.csv", rows)
    report = evaluate("videogen-rewardbench", folder)
    overall, text = values(report, "Overall"), values(report, "TA")
    assert overall["accuracy_without_ties"] == pytest.approx(2 / 3, abs=1e-6)
    # Differences: .63 right, .15 (c-b) right, .19 wrong, .15 (b-c) a tie. A threshold of .15 ties c-b as well.
    assert overall["accuracy_with_ties"] == pytest.approx(2 / 4)
    assert text["accuracy_without_ties"] == 1.0
    # In TA both differences of .15 are right, but the smallest is always called a tie; .19 is right, .63 is none.
    assert text["accuracy_with_ties"] == pytest.approx(1 / 4)
    assert [result.task for result in report.results] == ["VQ", "MQ", "TA", "Overall"]
    lines = (folder.parent / "out" / "predictions.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["truth"] == {"VQ": "second", "MQ": "second", "TA": "tie", "Overall": "second"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (pair("videos/a.mp4", "videos/b.mp4", "C"), "`VQ` is 'C', not A or B or same"),
        (pair("videos/a.mp4", "videos/b.mp4", "A", MQ=""), "`MQ` is ''"),
        (pair("videos/a.mp4", "videos/b.mp4", "a"), "`VQ` is 'a'"),
        (pair("", "videos/b.mp4", "A"), "no `path_A`"),
        (pair("videos/a.mp4", "videos/a.mp4", "A"), "one video with itself"),
        (pair("videos/a.mp4", "videos/b.mp4", "A", ""), "no `prompt`"),
        (pair("videos/a.mp4", "videos/b.mp4", "A") | {"note": "x"}, "`note` is not known"),
    ],
)
def test_a_pair_that_is_not_understood_is_refused_by_name(folder, row, reason):
    write_pairs(folder / "videogen-rewardbench.csv", [row])
    with pytest.raises(CacError, match="no question can be used") as error:
        evaluate("videogen-rewardbench", folder)
    assert reason in str(error.value)


def test_a_cell_too_many_is_refused(folder):
    write_pairs(folder / "videogen-rewardbench.csv", [pair("videos/a.mp4", "videos/b.mp4", "A")])
    with (folder / "videogen-rewardbench.csv").open("a") as file:
        file.write("videos/a.mp4,videos/c.mp4,x,y,p,A,A,A,A,B\n")
    report = evaluate("videogen-rewardbench", folder)
    assert report.answered == 1
    assert list(report.refused_rows.values()) == [["videogen-rewardbench.csv, row 2"]]


def test_a_missing_file_is_an_error(folder):
    with pytest.raises(CacError, match=r"no file at .*videogen-rewardbench\.csv"):
        evaluate("videogen-rewardbench", folder)


ADDRESS = "https://huggingface.co/datasets/tianleliphoebe/genai-arena-video-mp4/blob/main/videos/"


def votes(*rows: tuple[str, str, str]) -> pa.Table:
    columns = ("left_video", "right_video", "vote_type")
    others = {"prompt": "a dog", "left_model": "x", "right_model": "y"}
    return pa.Table.from_pylist([dict(zip(columns, row, strict=True)) | others for row in rows])


def test_votes_of_genai_bench_find_their_videos_by_the_address(folder):
    (folder / "video_generation").mkdir()
    table = votes(
        (f"{ADDRESS}a.mp4", f"{ADDRESS}b.mp4", "rightvote"),
        (f"{ADDRESS}a.mp4", f"{ADDRESS}c.mp4", "leftvote"),
        (f"{ADDRESS}b.mp4", f"{ADDRESS}c.mp4", "tievote"),
        (f"{ADDRESS}b.mp4", f"{ADDRESS}c.mp4", "bothbad_vote"),
        (f"{ADDRESS}b.mp4", f"{ADDRESS}c.mp4", "upvote"),
        (f"{ADDRESS}b.mp4", f"{ADDRESS}z.mp4", "leftvote"),
    )
    pq.write_table(table, folder / "video_generation" / "test-00000-of-00001.parquet")
    report = evaluate("genai-bench", folder)
    assert (report.questions, report.answered, report.videos) == (5, 4, 3)
    assert values(report, "video_generation") == {"accuracy_without_ties": 0.5, "accuracy_with_ties": 0.75}
    ((reason, names),) = report.refused_rows.items()
    assert reason.startswith("`vote_type` is 'upvote', not leftvote")
    assert names == ["test-00000-of-00001.parquet, row 5"]
    assert list(report.unusable_videos.values()) == [[f"{ADDRESS}z.mp4"]]


def test_two_addresses_of_one_file_are_refused(folder):
    table = votes(
        (f"{ADDRESS}a.mp4", f"{ADDRESS}b.mp4", "leftvote"), ("https://elsewhere/b.mp4", f"{ADDRESS}c.mp4", "leftvote")
    )
    pq.write_table(table, folder / "test.parquet")
    with pytest.raises(CacError, match=r"no question can be answered.*different videos of one name"):
        evaluate("genai-bench", folder)


def test_the_parts_of_genai_bench_for_images_are_refused(folder):
    table = votes(("a.mp4", "b.mp4", "leftvote")).append_column("left_image", pa.array([b"\x89PNG"]))
    pq.write_table(table, folder / "test.parquet")
    with pytest.raises(CacError, match="`left_image` is not known"):
        evaluate("genai-bench", folder)


def test_two_splits_of_genai_bench_are_not_mixed(folder):
    for split in ("test", "test_v1"):
        pq.write_table(votes(("a.mp4", "b.mp4", "leftvote")), folder / f"{split}-00000-of-00001.parquet")
    with pytest.raises(CacError, match="several splits: test, test_v1"):
        evaluate("genai-bench", folder)


def test_what_is_no_parquet_is_an_error(folder):
    (folder / "test.parquet").write_bytes(b"no parquet")
    with pytest.raises(CacError, match="no readable Parquet"):
        evaluate("genai-bench", folder)
