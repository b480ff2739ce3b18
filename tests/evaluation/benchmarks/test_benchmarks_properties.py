"""Whatever a row holds besides what a reader knows is refused by name: no clean clip and no preference comes of it."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.benchmark_cases import naming, pair, write_jsonl, write_pairs, yes_no
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.data.exchange.label_map import LabelMap
from cac.errors import CacError
from cac.evaluation.benchmarks.formats import BENCHMARKS
from cac.evaluation.benchmarks.questions import Question, Reading

few = settings(max_examples=60, deadline=None)
names = st.from_regex(r"x_[a-z]{1,8}", fullmatch=True)  # of fields that no benchmark has
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)
scalars = st.none() | st.booleans() | st.integers(-5, 30) | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
MAP = LabelMap(labels={"Flicker": "texture_jitter", "Noise": "vanishing"})
OPTIONS = {"Flicker": True, "Noise": False}
VOTE = {
    **{"prompt": "p", "left_model": "x", "left_video": "a.mp4", "right_model": "y", "right_video": "b.mp4"},
    "vote_type": "leftvote",
}
PVRC = {"task_type": 2, "sample_id": 1, "video_path": ["a.mp4", "b.mp4"], "answer": "<Video A>", "level": "easy"}


def read(benchmark: str, row: dict[str, Any]) -> Reading:
    """Read a benchmark of one row."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if benchmark == "artifact-bench":
            write_jsonl(folder / "task1_meta.jsonl", [row])
        elif benchmark == "videogen-rewardbench":
            write_pairs(folder / "videogen-rewardbench.csv", [row])
        elif benchmark == "genai-bench":
            pq.write_table(pa.Table.from_pylist([row]), folder / "test.parquet")
        else:
            (folder / "records.json").write_text(json.dumps([row]))
        return BENCHMARKS[benchmark](folder, MAP)


def questions(benchmark: str, row: dict[str, Any]) -> list[Question]:
    """The questions of a row; none if the whole file is refused. A row that is no question has a reason."""
    try:
        reading = read(benchmark, row)
    except CacError:
        return []
    refused = [name for reasons in reading.refused.values() for name in reasons]
    assert len(reading.questions) + len(refused) == 1
    assert all(reading.refused)
    return reading.questions


ROWS: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    ("artifact-bench", lambda: yes_no(1, "a.mp4", "no")),
    ("artifact-bench", lambda: dict(PVRC)),
    ("artifact-bench", lambda: naming(1, "a.mp4", OPTIONS)),
    ("videogen-rewardbench", lambda: pair("a.mp4", "b.mp4", "A")),
    ("genai-bench", lambda: dict(VOTE)),
]
IDS = ["yes-no", "more-realistic", "naming", "csv", "parquet"]


@pytest.mark.parametrize(("benchmark", "row"), ROWS, ids=IDS)
def test_the_row_itself_is_a_question(benchmark, row):
    assert len(questions(benchmark, row())) == 1


@pytest.mark.parametrize(("benchmark", "row"), ROWS, ids=IDS)
@few
@given(name=names, value=texts)
def test_a_field_that_nobody_knows_makes_no_question(benchmark, row, name, value):
    assert questions(benchmark, row() | {name: value}) == []


@few
@given(answer=anything)
def test_another_answer_is_never_a_clean_clip(answer):
    (said,) = [answer] if answer not in ("yes", "no") else ["maybe"]
    assert questions("artifact-bench", yes_no(1, "a.mp4", said)) == []


@few
@given(answer=anything)
def test_another_answer_is_never_a_preference(answer):
    if answer in ("<Video A>", "<Video B>"):
        return
    assert questions("artifact-bench", PVRC | {"answer": answer}) == []


@few
@given(answer=texts, respect=st.sampled_from(["VQ", "MQ", "TA", "Overall"]))
def test_another_word_for_a_preference_is_never_one(answer, respect):
    if answer in ("A", "B", "same"):
        return
    assert questions("videogen-rewardbench", pair("a.mp4", "b.mp4", "A") | {respect: answer}) == []


@few
@given(vote=scalars)
def test_another_vote_is_never_a_preference(vote):
    if vote in ("leftvote", "rightvote", "tievote", "bothbad_vote"):
        return
    assert questions("genai-bench", VOTE | {"vote_type": vote}) == []


@few
@given(field=st.sampled_from(["answer", "answer_idx", "answer_letter", "option_dic", "option"]), value=anything)
def test_a_naming_question_that_contradicts_itself_is_none(field, value):
    row = naming(1, "a.mp4", OPTIONS)
    if repr(row[field]) == repr(value) or value == "A ":
        return
    assert questions("artifact-bench", row | {field: value}) == []


@few
@given(field=st.sampled_from(["task_type", "sample_id", "video_path", "level"]), value=anything)
def test_other_values_of_a_yes_no_row_never_change_its_truth(field, value):
    for question in questions("artifact-bench", yes_no(1, "a.mp4", "yes") | {field: value}):
        assert getattr(question, "anomalous", None) is True


@few
@given(text=texts, tag=st.sampled_from(["", "<answer>{}</answer>", "<type>{}</type>", "<x_tag>{}</x_tag>"]))
def test_a_text_without_a_known_answer_is_never_a_clean_clip(text, tag):
    said = tag.format(text)
    if text.strip().lower() in ("real", "fake"):
        return
    assert questions("vif-bench", {"video": "a.mp4", "text": said}) == []
