"""Opinions of annotators: agreement, and what is wrong with their file."""

import json
from pathlib import Path

import pytest
from helpers.invented_clips import invented_clips
from hypothesis import given
from hypothesis import strategies as st

from cac.data.validation.annotator_agreement import OPINIONS_NAME, agreement, record_agreement
from cac.data.validation.clip_facts import ClipFacts
from cac.data.validation.facts_table import FactsTable
from cac.schema.annotations import Clip
from cac.schema.taxonomy import Family

WINDOWS = st.tuples(st.integers(0, 20), st.integers(1, 20)).map(lambda w: (float(w[0]), float(w[0] + w[1])))
SAID = st.lists(st.tuples(st.sampled_from(list(Family)), WINDOWS), max_size=3)


@given(SAID, SAID)
def test_agreement_is_symmetric_bounded_and_one_with_oneself(a: list, b: list) -> None:  # type: ignore[type-arg]
    assert agreement(a, a) == 1
    assert agreement(a, b) == agreement(b, a)
    assert 0 <= agreement(a, b) <= 1


def test_agreement_counts_families_apart() -> None:
    text, physical = Family.TEXT, Family.PHYSICAL
    assert agreement([(text, (0.0, 1.0))], [(physical, (0.0, 1.0))]) == 0
    assert agreement([(text, (0.0, 1.0))], []) == 0
    assert agreement([(text, (0.0, 2.0))], [(text, (1.0, 2.0))]) == pytest.approx(0.5)
    both = [(text, (0.0, 1.0)), (physical, (0.0, 1.0))]
    assert agreement(both, both[:1]) == pytest.approx(0.5)


def opinion(clip: Clip, annotator: str, window: tuple[float, float] | None) -> str:
    found = [clip.anomalies[0].model_dump(mode="json") | {"window": window, "boxes": []}] if window else []
    return json.dumps({"clip_id": clip.clip_id, "annotator": annotator, "anomalies": found})


def test_disagreement_is_noted_on_the_clip_and_bad_lines_on_themselves(tmp_path: Path) -> None:
    clips = list(invented_clips(8))
    agreed, disputed, seen_by_one = clips[1], clips[3], clips[5]
    lines = [
        opinion(agreed, "anna", (0.5, 1.75)), opinion(agreed, "ben", (0.5, 1.5)),
        opinion(disputed, "anna", (0.5, 1.0)), opinion(disputed, "ben", None), opinion(disputed, "carla", (1.0, 1.5)),
        opinion(seen_by_one, "anna", (0.5, 1.0)),
        opinion(agreed, "anna", None), opinion(agreed, "dora", None).replace("clip0", "klip0"), '{"clip_id": 7}', "[",
    ]  # fmt: skip
    (tmp_path / OPINIONS_NAME).write_text("\n".join(lines), encoding="utf-8")
    with FactsTable() as table:
        for number, clip in enumerate(clips, start=1):
            table.add(ClipFacts(number, clip, clip.clip_id, clip.path, clip.pair_id))
        counted = record_agreement(tmp_path, table, min_agreement=0.5)
        noted = dict(table.problems("annotators"))
        bad = dict(table.select("SELECT line, opinion_problem FROM opinions WHERE opinion_problem IS NOT NULL"))
    assert counted == {"opinions": 10, "annotators": 4, "clips_with_several": 2, "mean_agreement": 0.2,
                       "same_verdict": 0.5}  # fmt: skip
    assert list(noted) == [4]
    assert "agreement 0.00: anna" in noted[4]
    assert "ben nothing" in noted[4]
    assert noted[4].count("agreement") == 3
    assert list(bad) == [7, 8, 9, 10]
    assert "not the first opinion" in bad[7]
    assert "no clip of the dataset" in bad[8]
    assert "annotator: Field required" in bad[9]


def test_a_dataset_without_opinions_has_none(tmp_path: Path) -> None:
    with FactsTable() as table:
        assert record_agreement(tmp_path, table, min_agreement=0.5) is None
