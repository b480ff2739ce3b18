"""What counts as drift: how far, and how seldom by chance."""

import random

import pytest

from cac.monitoring.clips import ScoredClip
from cac.monitoring.drift import DriftResult, compare
from cac.params import Monitoring, Params
from cac.schema.taxonomy import Family

FAMILIES = [family.value for family in Family]


@pytest.fixture
def settings(project_params: Params) -> Monitoring:
    return project_params.monitoring


def clips(count: int, seed: int, flagged: float = 0.4, shift: float = 0.0, longer: float = 1.0) -> list[ScoredClip]:
    draw = random.Random(seed)
    return [_clip(str(number), draw, flagged, shift, longer) for number in range(count)]


def _clip(name: str, draw: random.Random, flagged: float, shift: float, longer: float) -> ScoredClip:
    odd = draw.random() < flagged
    score = min(1.0, max(0.0, draw.betavariate(2, 5) if odd else draw.betavariate(5, 2)) + shift)
    windows = (longer * draw.uniform(0.3, 1.5),) if odd else ()
    family = draw.choice(FAMILIES) if odd else None
    return ScoredClip(name, name, score, odd, family, windows, True, longer * draw.uniform(2, 4), draw.uniform(0, 0.3))


def drifted(measures: list[DriftResult]) -> set[str]:
    return {one.measure for one in measures if one.drifted}


def test_chance_alone_seldom_raises_an_alarm(settings):
    reference = clips(248, seed=1)
    alarms = [seed for seed in range(100, 300) if drifted(compare(reference, clips(100, seed), settings))]
    assert len(alarms) <= 4, "the setting allows one in a hundred"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"flagged": 0.9}, {"score", "flagged"}),
        ({"shift": -0.3}, {"score"}),
        ({"longer": 2.0}, {"duration", "window_seconds"}),
    ],
)
def test_what_has_changed_is_named(settings, changed, expected):
    assert drifted(compare(clips(300, seed=1), clips(150, seed=2, **changed), settings)) == expected


def test_a_small_change_of_many_clips_is_no_drift(settings):
    measures = {one.measure: one for one in compare(clips(5000, 1), clips(5000, 2, shift=-0.05), settings)}
    assert measures["score"].p_value < 1e-6
    assert not measures["score"].drifted


def test_other_families_and_unreadable_clips_are_seen(settings):
    reference, recent = clips(300, seed=1, flagged=1.0), clips(150, seed=2, flagged=1.0)
    recent = [ScoredClip(**{**vars(clip), "family": FAMILIES[0]}) for clip in recent]
    recent[:60] = [ScoredClip(clip.name, None, None, False, None, (), False) for clip in recent[:60]]
    found = {one.measure: one for one in compare(reference, recent, settings)}
    assert drifted(list(found.values())) == {"family", "answers"}
    assert found["answers"].after["unreadable"] == pytest.approx(0.4)
    assert found["family"].after == {FAMILIES[0]: 1.0, **dict.fromkeys(FAMILIES[1:], 0.0)}


def test_too_few_values_are_not_judged(settings):
    [windows] = [
        one for one in compare(clips(300, 1), clips(100, 2, flagged=0.05), settings) if one.measure == "window_seconds"
    ]
    assert windows.values_after < 20
    assert (windows.distance, windows.p_value, windows.drifted) == (None, None, False)
