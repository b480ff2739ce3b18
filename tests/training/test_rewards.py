"""Rewards are in range, and every known hack earns less than honesty."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cac.params import Grpo, Params
from cac.schema.annotations import Anomaly, Clip, FrameBox
from cac.schema.dialogue import Finding
from cac.schema.geometry import Box
from cac.schema.judgement import Judgement, windows_from_findings
from cac.schema.taxonomy import Family
from cac.training.rewards import reward_functions, scan_reward, total_reward
from cac.training.two_turn_grpo import monitors

BOX = (0.2, 0.2, 0.4, 0.4)
BOXES = tuple(FrameBox(frame=frame, box=BOX) for frame in range(8, 16))
ANOMALY = Anomaly(family=Family.PHYSICAL, leaf="teleport", window=(1.0, 2.0), boxes=BOXES, saliency=1.0)
DIRTY = Clip(
    clip_id="a", path="a.mp4", sha256="0" * 64, fps=8.0, frame_count=32, width=96, height=96, source="s", generator="g",
    split="train", pair_id="p", anomalies=(ANOMALY,),
)  # fmt: skip
CLEAN = DIRTY.model_copy(update={"anomalies": (), "clip_id": "c"})
DENSE = [frame / 8 for frame in range(8, 16)]

HONEST = Judgement(
    0.0, "anomalous", ((1.0, 2.0),), tuple(Finding(time, BOX) for time in DENSE), Family.PHYSICAL,
    "teleport", True, 14, "", "", scan_windows=((0.8, 2.2),),
)  # fmt: skip
PASS = Judgement(0.0, "clean", (), tuple(Finding(time) for time in DENSE), None, None, True, 14, "", "")
UNREADABLE = replace(PASS, parsed=False, findings=())


@pytest.fixture
def settings(project_params: Params) -> Grpo:
    return project_params.two_turn_grpo


def total(judgement: Judgement, clip: Clip, settings: Grpo) -> float:
    for reward in reward_functions(settings).values():
        value = reward(judgement, clip)
        assert value is None or -1 <= value <= 1
    return total_reward(judgement, clip, settings)


def over_both(dirty: Judgement, clean: Judgement, settings: Grpo) -> float:
    """The mean reward of a policy on a balanced pair of clips."""
    return (total(dirty, DIRTY, settings) + total(clean, CLEAN, settings)) / 2


def seeing(box_at: Callable[[float], Box | None]) -> Judgement:
    """An honest judgement but for its boxes, from which its windows follow."""
    findings = tuple(Finding(time, box_at(time)) for time in DENSE)
    return replace(HONEST, findings=findings, windows=windows_from_findings(findings, 1 / 8, 4.0))


HACKS = {
    "whole-clip window": (replace(HONEST, windows=((0.0, 4.0),)), PASS),
    "garbling what would be a false alarm": (HONEST, UNREADABLE),
    "giant boxes": (seeing(lambda t: (0.0, 0.0, 1.0, 1.0)), PASS),
    "boxes on one easy frame only": (seeing(lambda t: BOX if t == 1.0 else None), PASS),
    "everything anomalous": (HONEST, HONEST),
    "everything clean": (PASS, PASS),
    "empty answers": (UNREADABLE, UNREADABLE),
    "wrong leaf of the right family": (replace(HONEST, leaf="size_jump"), PASS),
}


@pytest.mark.parametrize("hack", HACKS)
def test_a_hack_earns_less_than_honesty(hack: str, settings: Grpo) -> None:
    assert over_both(*HACKS[hack], settings) < over_both(HONEST, PASS, settings) - 0.05


def test_localisation_does_not_count_on_clean_clips(settings: Grpo) -> None:
    rewards = reward_functions(settings)
    for name in ("scan", "temporal_iou", "spatial_iou", "attribution"):
        assert rewards[name](PASS, CLEAN) is None
        assert rewards[name](HONEST, DIRTY) == 1.0


def test_an_unreadable_answer_never_beats_a_readable_one(settings: Grpo) -> None:
    readable = [HONEST, PASS, replace(HONEST, windows=(), findings=()), replace(HONEST, leaf="size_jump")]
    for clip in (DIRTY, CLEAN):
        assert all(total(UNREADABLE, clip, settings) < total(judgement, clip, settings) for judgement in readable)


def test_the_total_reward_is_that_of_the_final_answer(settings: Grpo) -> None:
    assert total(replace(HONEST, scan_windows=()), DIRTY, settings) == total(HONEST, DIRTY, settings)


def test_a_scan_earns_the_covered_share_of_the_anomaly_within_a_bounded_width() -> None:
    assert scan_reward([(1.0, 2.0)], DIRTY) == 1.0
    assert scan_reward([(0.5, 2.5)], DIRTY) == 1.0, "up to twice the width costs nothing"
    assert scan_reward([(0.0, 4.0)], DIRTY) == 0.5
    assert scan_reward([(1.0, 1.25)], DIRTY) == pytest.approx(0.25)
    assert scan_reward([(2.5, 3.0)], DIRTY) == scan_reward([], DIRTY) == 0.0
    assert scan_reward([(1.0, 2.0)], CLEAN) is None


@given(st.lists(st.tuples(st.floats(0, 4), st.floats(0, 4)).map(sorted).map(tuple), max_size=4))
def test_a_scan_reward_is_a_share_and_never_above_the_exact_window(windows: list[tuple[float, float]]) -> None:
    reward = scan_reward(windows, DIRTY)
    assert reward is not None
    assert 0 <= reward <= 1


def test_a_false_alarm_costs_more_than_a_miss(settings: Grpo) -> None:
    accuracy = reward_functions(settings)["accuracy"]
    assert accuracy(HONEST, CLEAN) < accuracy(PASS, DIRTY) <= 0 < accuracy(PASS, CLEAN)


def test_trying_beats_abstaining_on_an_anomalous_clip(settings: Grpo) -> None:
    wrong_place = replace(HONEST, windows=((2.5, 3.5),), findings=())
    assert total(wrong_place, DIRTY, settings) >= total(PASS, DIRTY, settings)


def test_monitors_tell_hacks_apart() -> None:
    honest = monitors([HONEST, PASS], [DIRTY, CLEAN])
    assert honest["monitor/specificity"] == honest["monitor/recall"] == honest["monitor/parse_rate"] == 1
    assert honest["monitor/window_share"] == pytest.approx(0.25)
    assert monitors([HONEST], [CLEAN])["monitor/specificity"] == 0
    assert monitors([PASS], [DIRTY])["monitor/abstain_rate"] == 1
    assert monitors([HACKS["giant boxes"][0]], [DIRTY])["monitor/box_area"] == 1
