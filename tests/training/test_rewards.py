"""Rewards are in range, and every known hack earns less than honesty."""

from dataclasses import replace

import pytest

from cac.params import Grpo, Params
from cac.schema.annotations import Anomaly, Clip, FrameBox
from cac.schema.dialogue import Finding
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import Family
from cac.training.rewards import reward_functions, total_reward
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
    "teleport", True, 14, "", "",
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


HACKS = {
    "whole-clip window": (replace(HONEST, windows=((0.0, 4.0),)), PASS),
    "giant boxes": (replace(HONEST, findings=tuple(Finding(t, (0.0, 0.0, 1.0, 1.0)) for t in DENSE)), PASS),
    "boxes on one easy frame only": (replace(HONEST, findings=HONEST.findings[:1]), PASS),
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
    for name in ("temporal_iou", "spatial_iou", "attribution"):
        assert rewards[name](PASS, CLEAN) is None
        assert rewards[name](HONEST, DIRTY) == 1.0


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
