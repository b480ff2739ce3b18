"""Judgements survive JSON, and boxes are read off at any time by the documented rule."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cac.schema.dialogue import Finding
from cac.schema.geometry import Box
from cac.schema.judgement import Judgement, windows_from_findings
from cac.schema.taxonomy import LEAVES, family_of

UNIT = st.floats(0, 1)
BOXES = st.tuples(UNIT, UNIT, UNIT, UNIT)
FINDINGS = st.one_of(
    st.builds(Finding, st.floats(0, 60)),
    st.builds(Finding, st.floats(0, 60), BOXES),
)
A: Box = (0.0, 0.0, 0.2, 0.2)
B: Box = (0.4, 0.2, 0.6, 0.4)


@st.composite
def judgements(draw: st.DrawFn) -> Judgement:
    leaf = draw(st.sampled_from([None, *LEAVES]))
    return Judgement(
        margin=draw(st.floats(-50, 50)),
        verdict="anomalous" if leaf else "clean",
        windows=tuple(draw(st.lists(st.tuples(st.floats(0, 10), st.floats(10, 20)), max_size=3))),
        findings=tuple(draw(st.lists(FINDINGS, max_size=6))),
        family=family_of(leaf) if leaf else None,
        leaf=leaf,
        parsed=draw(st.booleans()),
        frames_seen=draw(st.integers(0, 100)),
        scan_text=draw(st.text(max_size=20)),
        look_text=draw(st.text(max_size=20)),
    )


def _with(*findings: Finding) -> Judgement:
    return Judgement(0.0, "clean", (), findings, None, None, True, 8, "", "")


@settings(max_examples=40, deadline=None)
@given(judgement=judgements())
def test_round_trip_through_json(judgement) -> None:
    stored = json.dumps(judgement.to_dict())
    back = Judgement.from_dict(json.loads(stored))
    assert back == judgement
    assert json.dumps(back.to_dict()) == stored
    assert hash(back) == hash(judgement)
    assert type(back.family) is type(judgement.family)


def test_unknown_keys_are_refused() -> None:
    data = _with(Finding(0.5, A)).to_dict()
    with pytest.raises(ValidationError, match="confidence"):
        Judgement.from_dict({**data, "confidence": 1.0})
    with pytest.raises(ValidationError, match="colour"):
        Judgement.from_dict({**data, "findings": [{"time": 0.5, "box": None, "colour": "red"}]})


@given(judgement=judgements())
def test_what_needed_help_abstains_by_itself(judgement: Judgement) -> None:
    assert judgement.without_constraint() is judgement
    alone = replace(judgement, unaided=False).without_constraint()
    assert (alone.margin, alone.verdict, alone.windows, alone.findings) == (0.0, "clean", (), ())
    assert (alone.family, alone.leaf, alone.parsed) == (None, None, False)
    assert (alone.look_text, alone.frames_seen) == (judgement.look_text, judgement.frames_seen)


def test_box_at_an_answered_time_is_the_answer() -> None:
    judgement = _with(Finding(0.5, A), Finding(1.0, B))
    assert judgement.box_at(0.5) == A
    assert judgement.box_at(0.55) == A
    assert judgement.box_at(0.96) == B


def test_box_between_two_answers_is_interpolated() -> None:
    judgement = _with(Finding(0.5, A), Finding(1.0, B))
    assert judgement.box_at(0.75) == pytest.approx((0.2, 0.1, 0.4, 0.3))
    assert judgement.box_at(0.625) == pytest.approx((0.1, 0.05, 0.3, 0.25))


def test_no_box_at_or_beside_a_frame_answered_none() -> None:
    judgement = _with(Finding(0.5, A), Finding(1.0), Finding(1.5, B))
    assert judgement.box_at(1.0) is None
    assert judgement.box_at(0.75) is None
    assert judgement.box_at(1.25) is None


def test_no_box_outside_the_answered_span_or_without_answers() -> None:
    judgement = _with(Finding(0.5, A), Finding(1.0, B))
    assert judgement.box_at(0.44) is None
    assert judgement.box_at(1.06) is None
    assert _with().box_at(0.5) is None


@settings(deadline=None)
@given(time=st.floats(0.5, 1.0))
def test_boxes_between_two_answers_stay_between_them(time) -> None:
    box = _with(Finding(0.5, A), Finding(1.0, B)).box_at(time)
    assert box is not None
    assert all(low - 1e-9 <= value <= high + 1e-9 for low, value, high in zip(A, box, B, strict=True))


def test_the_windows_of_a_single_look_reach_half_way_to_the_clear_frames() -> None:
    def finding(time: float, odd: bool) -> Finding:
        return Finding(time, (0.1, 0.1, 0.2, 0.2)) if odd else Finding(time)

    looks = [finding(time, odd) for time, odd in [(0.2, False), (0.6, True), (1.0, True), (1.4, False), (1.8, True)]]
    (first, second) = windows_from_findings(looks, 2.0)
    assert first == pytest.approx((0.4, 1.2))
    assert second == pytest.approx((1.6, 2.0))
    assert windows_from_findings([finding(0.2, False)], 2.0) == ()
    assert windows_from_findings([finding(0.2, True)], 2.0) == ((0.0, 2.0),)
    assert windows_from_findings([], 2.0) == ()
