import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.errors import CacError
from cac.rl.monitor import Monitor, MonitorSettings, VideoReward
from cac.schema.dialogue import Look, Scan
from cac.schema.judgement import ShownFrames, combine_turns

REFERENCE = 0.1
WATCH = MonitorSettings(window=10)


def one(score: float, motion: float, parsed: bool = True) -> VideoReward:
    look = Look((), None, None, "clean") if parsed else None
    shown = ShownFrames((), 0.125, 1.0)
    judgement = combine_turns(Scan((), ()), look, shown=shown, margin=0.0, frames_seen=1, texts=("", ""))
    return VideoReward(score, score, motion, judgement)


def watched(*groups: list[VideoReward]) -> Monitor:
    monitor = Monitor(REFERENCE, WATCH)
    for group in groups:
        monitor.observe(group)
    return monitor


def test_statistics_are_those_of_the_clips():
    monitor = watched([one(0.5, 0.2), one(1.0, 0.0), one(0.0, 0.009, parsed=False), one(0.0, 0.011)])
    last = monitor.last
    assert last == monitor.first
    assert (last.score, last.motion) == (pytest.approx(0.375), pytest.approx(0.055))
    assert (last.still_share, last.unparsed_share) == (0.5, 0.25)
    assert last.extreme_share == pytest.approx(2 / 3), "of the parsed ones"
    assert monitor.metrics() == {**vars(last), "hacking_suspected": 0.0}


def test_before_any_clip_there_is_nothing():
    monitor = watched([])
    assert (monitor.first, monitor.last, monitor.metrics(), monitor.hacking_suspected) == (None, None, {}, False)


def test_only_the_last_window_counts_and_the_first_stays():
    monitor = watched([one(0.2, 0.1)] * 10, [one(0.6, 0.3)] * 25)
    assert (monitor.first.score, monitor.first.motion) == (pytest.approx(0.2), pytest.approx(0.1))
    assert (monitor.last.score, monitor.last.motion) == (pytest.approx(0.6), pytest.approx(0.3))


@pytest.mark.parametrize(
    ("last", "suspected"),
    [
        (one(0.6, 0.07), True),
        (one(0.6, 0.09), False),  # hardly less motion
        (one(0.5, 0.01), False),  # no higher score
        (one(0.1, 0.01), False),  # the generator broke; nothing was gained by it
        (one(0.9, 0.3), False),
    ],
)
def test_the_flag_is_less_motion_and_a_higher_score(last, suspected):
    assert watched([one(0.5, 0.1)] * 10, [last] * 10).hacking_suspected == suspected


def test_the_flag_waits_for_two_windows_warns_once_and_goes_down(caplog):
    monitor = watched([one(0.5, 0.1)] * 10)
    with caplog.at_level(logging.WARNING):
        monitor.observe([one(0.9, 0.0)] * 9)
        assert not monitor.hacking_suspected
        for _ in range(3):
            monitor.observe([one(0.9, 0.0)])
            assert monitor.hacking_suspected
            assert monitor.metrics()["hacking_suspected"] == 1.0
    assert [record.message.startswith("reward hacking suspected") for record in caplog.records] == [True]
    monitor.observe([one(0.9, 0.1)] * 10)
    assert not monitor.hacking_suspected


CLIPS = st.lists(st.builds(one, st.floats(0, 1), st.floats(0, 1), st.booleans()), max_size=30)


@settings(deadline=None)
@given(CLIPS, CLIPS)
def test_a_resumed_monitor_goes_on_as_if_never_stopped(before, after):
    stopped = watched(before)
    resumed = Monitor(REFERENCE, WATCH)
    resumed.restore(json.loads(json.dumps(stopped.state())))
    resumed.observe(after)
    straight = watched(before, after)
    assert (resumed.first, resumed.last) == (straight.first, straight.last)
    assert resumed.state() == straight.state()


@settings(deadline=None)
@given(CLIPS, st.integers(1, 7))
def test_how_clips_are_cut_into_steps_changes_no_statistics(clips, size):
    steps = [clips[i : i + size] for i in range(0, len(clips), size)]
    assert watched(*steps).state() == watched(clips).state()


@pytest.mark.parametrize("wrong", [{"window": 0}, {"motion_share": 0.0}, {"still_below": 1.5}])
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(CacError, match="window must be at least 1"):
        MonitorSettings(**wrong)
