"""Judgements survive JSON, and boxes are read off at any time by the documented rule."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cac.schema.dialogue import Finding, Look, Scan
from cac.schema.geometry import Box, Window
from cac.schema.judgement import Judgement, ShownFrames, combine_turns, windows_from_findings
from cac.schema.taxonomy import LEAVES, Family, family_of

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


FRAME = 0.125  # seconds, at 8 fps


def _with(*findings: Finding, duration: float = 4.0) -> Judgement:
    windows = windows_from_findings(findings, FRAME, duration)
    return Judgement(0.0, "clean", windows, findings, None, None, True, 8, "", "")


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
    assert judgement.box_at(1.0) == B


def test_box_between_two_answers_is_interpolated() -> None:
    judgement = _with(Finding(0.5, A), Finding(1.0, B))
    assert judgement.box_at(0.75) == pytest.approx((0.2, 0.1, 0.4, 0.3))
    assert judgement.box_at(0.625) == pytest.approx((0.1, 0.05, 0.3, 0.25))


def test_a_box_lasts_half_way_to_a_frame_answered_none() -> None:
    judgement = _with(Finding(0.5, A), Finding(1.0), Finding(1.5, B))
    assert judgement.box_at(1.0) is None
    assert judgement.box_at(0.75) == A
    assert judgement.box_at(0.875) is None
    assert judgement.box_at(1.25) is None
    assert judgement.box_at(1.375) == B


def test_no_box_at_the_next_frame_if_it_was_answered_none() -> None:
    judgement = _with(Finding(0.5), Finding(0.625, A), Finding(0.75))
    assert [judgement.box_at(time) for time in (0.5, 0.625, 0.75)] == [None, A, None]
    assert judgement.windows == ((0.625, 0.75),), "a frame lasts until the next one"


def test_a_box_is_held_for_a_fifth_of_a_second_outside_the_look() -> None:
    judgement = _with(Finding(1.0, A), Finding(1.125), Finding(1.25, B))
    assert judgement.box_at(0.8) == A
    assert judgement.box_at(0.75) is None
    assert judgement.box_at(1.45) == B
    assert judgement.box_at(1.5) is None
    assert _with(Finding(1.0), Finding(1.125, A), Finding(1.25)).box_at(0.9) is None
    assert _with().box_at(0.5) is None


@settings(deadline=None)
@given(time=st.floats(0.5, 1.0))
def test_boxes_between_two_answers_stay_between_them(time) -> None:
    box = _with(Finding(0.5, A), Finding(1.0, B)).box_at(time)
    assert box is not None
    assert all(low - 1e-9 <= value <= high + 1e-9 for low, value, high in zip(A, box, B, strict=True))


def test_windows_reach_half_way_to_the_frames_without_a_box() -> None:
    def windows(*seen: bool, duration: float = 2.0) -> tuple[Window, ...]:
        findings = [Finding(0.2 + 0.4 * i, A if one else None) for i, one in enumerate(seen)]
        return windows_from_findings(findings, 0.1, duration)

    first, second = windows(False, True, True, False, True)
    assert first == pytest.approx((0.45, 1.25))
    assert second == pytest.approx((1.65, 2.0)), "cut to the clip"
    assert windows(False) == windows() == ()
    assert windows(True) == (pytest.approx((0.2, 0.3)),), "one frame lasts as long as a frame does"


@given(data=st.data(), fps=st.sampled_from([8.0, 24.0, 30000 / 1001]))
def test_a_look_at_every_frame_gives_exact_windows(data: st.DataObject, fps: float) -> None:
    """An anomaly in frames [first, last] is seen from the start of the first to the end of the last."""
    first = data.draw(st.integers(0, 40))
    last = data.draw(st.integers(first, 40))
    findings = [Finding(i / fps, A if first <= i <= last else None) for i in range(41)]
    assert windows_from_findings(findings, 1 / fps, 41 / fps) == (
        pytest.approx((first / fps, (last + 1) / fps), abs=1e-3),
    )


LOOK = Look((Finding(0.5, A), Finding(0.6)), Family.TEMPORAL, "vanishing", "anomalous")


def test_windows_come_from_the_look_and_from_the_scan_where_it_sees_nothing() -> None:
    def judged(look: Look | None, times: tuple[float, ...] = (0.5, 0.625)) -> Judgement:
        scan = Scan((), ((0.25, 1.5),))
        shown = ShownFrames(times, FRAME, 1.0)
        return combine_turns(scan, look, shown=shown, margin=0.0, frames_seen=2, texts=("", ""))

    assert judged(LOOK).windows == ((0.5, 0.625),)
    assert judged(LOOK).scan_windows == ((0.25, 1.0),), "cut to the clip"
    assert judged(LOOK).findings == (Finding(0.5, A), Finding(0.625)), "with the exact times of the frames"
    assert judged(LOOK, (0.5, 0.75)).findings == LOOK.findings, "it does not speak of these frames"
    clean = Look((Finding(0.5), Finding(0.6)), None, None, "clean")
    assert judged(clean).windows == judged(None).windows == ((0.25, 1.0),)
