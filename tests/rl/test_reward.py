import threading
from itertools import permutations

import numpy as np
import pytest
import torch
from helpers.rl_clips import BRIGHT, DARK, MOTION, frozen, moving
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.errors import CacError
from cac.registry.pinned import pin_package
from cac.rl.reward import Rewarder, RewardSettings, combined_reward
from cac.video.decode import Video
from cac.video.encode import encode
from cac.video.motion import mean_motion

pytestmark = pytest.mark.slow

SCORES = st.floats(0, 1)
MOTIONS = st.floats(0, 10)
ONE_SIDED = st.builds(RewardSettings, st.floats(1e-3, 5), st.floats(0.1, 5), st.floats(0, 5))
SETTINGS = ONE_SIDED | st.builds(
    RewardSettings, st.floats(1e-3, 2), st.floats(0.1, 5), st.floats(0, 5), motion_ceiling=st.floats(2, 8)
)


@settings(deadline=None)
@given(SCORES, MOTIONS, SETTINGS)
def test_the_reward_is_the_score_less_a_fine_for_too_little_or_too_much_motion(score, moved, weights):
    reward = combined_reward(score, moved, weights)
    assert -weights.motion_weight <= reward <= weights.score_weight
    assert combined_reward(score, 0.0, weights) <= reward, "a frozen copy is never worth more"
    if weights.motion_reference <= moved <= weights.motion_ceiling:
        assert reward == weights.score_weight * score, "in between there is no fine"


@settings(deadline=None)
@given(SCORES, SCORES, MOTIONS, MOTIONS, ONE_SIDED)
def test_without_a_ceiling_more_score_or_more_motion_never_earns_less(score, better, moved, faster, weights):
    low = combined_reward(min(score, better), min(moved, faster), weights)
    assert low <= combined_reward(max(score, better), max(moved, faster), weights)


@settings(deadline=None)
@given(SCORES, SCORES, st.floats(0.1, 5), st.floats(0, 5))
def test_with_equal_weights_no_still_video_beats_one_that_moves_enough(still, moved, weight, extra):
    weights = RewardSettings(0.1, weight, weight + extra)
    assert combined_reward(still, 0.0, weights) <= combined_reward(moved, 0.1, weights)


@settings(deadline=None)
@given(SCORES, MOTIONS, MOTIONS, SETTINGS)
def test_past_the_ceiling_more_motion_never_earns_more(score, moved, more, weights):
    past = weights.motion_ceiling if np.isfinite(weights.motion_ceiling) else weights.motion_reference
    assert combined_reward(score, past + moved + more, weights) <= combined_reward(score, past + moved, weights)


def test_twice_the_ceiling_is_fined_like_standing_still():
    weights = RewardSettings(0.1, motion_ceiling=0.2)
    earned = [combined_reward(1.0, moved, weights) for moved in (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 4.0)]
    assert earned == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0])


@settings(deadline=None)
@given(st.floats(1e-3, 5), st.floats(0, 5))
def test_around_what_is_usual_there_is_no_fine_and_far_from_it_there_is(usual, weight):
    weights = RewardSettings.around(usual, weight)
    for share, fined in ((0.0, 1), (0.225, 0.5), (0.5, 0), (1.0, 0), (1.45, 0), (2.25, 0.5), (3.0, 1)):
        assert combined_reward(1.0, share * usual, weights) == pytest.approx(1 - weight * fined)


def test_a_ceiling_below_the_floor_is_refused():
    for ceiling in (0.05, float("nan")):
        with pytest.raises(CacError, match=r"motion_ceiling .* at least motion_reference"):
            RewardSettings(0.1, motion_ceiling=ceiling)


@pytest.mark.parametrize("values", [(0.0, 1, 1), (0.1, 0, 1), (0.1, 1, -1), (float("nan"), 1, 1), (0.1, 1, np.inf)])
def test_weights_without_sense_are_refused(values):
    with pytest.raises(CacError, match="all must be finite"):
        RewardSettings(*values)


def test_the_model_is_told_dark_clips_from_bright_ones(rewarder):
    dark, bright = rewarder([moving(DARK), moving(BRIGHT)])
    assert dark.parsed
    assert bright.parsed
    assert dark.score > bright.score + 0.2
    assert (dark.judgement.verdict, bright.judgement.verdict) == ("clean", "anomalous")
    assert dark.reward == dark.score, "it moves enough"
    assert dark.motion == mean_motion(moving(DARK))


def test_a_frozen_copy_earns_less_though_its_score_is_the_same(rewarder):
    clip = moving(DARK)
    moves, still = rewarder([clip, frozen(clip)])
    assert still.motion == 0.0
    assert still.score == pytest.approx(moves.score, abs=0.05)
    assert still.reward == pytest.approx(still.score - 1)
    free = Rewarder(rewarder.pinned, RewardSettings(MOTION, motion_weight=0.0))
    assert free([frozen(clip)])[0].reward == pytest.approx(still.score, abs=1e-6), "without the fine stillness is free"


def test_neither_order_nor_batching_matters(pinned):
    clips = [moving(DARK), moving(BRIGHT, frames=9), moving(60, seed=3), frozen(moving(BRIGHT))]
    one_by_one = [one.reward for one in Rewarder(pinned, RewardSettings(MOTION), batch_size=1)(clips)]
    rewarder = Rewarder(pinned, RewardSettings(MOTION), batch_size=3)
    for order in list(permutations(range(4)))[::7]:
        rewards = [one.reward for one in rewarder([clips[i] for i in order])]
        assert rewards == pytest.approx([one_by_one[i] for i in order], abs=1e-5)


def test_an_answer_that_cannot_be_parsed_earns_as_the_surest_anomaly(pack, fresh_base):
    babbling = pin_package(pack(fresh_base, 3.0, max_turn_tokens=6))
    clip = moving(DARK)
    assert babbling.judge([clip], 1)[0][0] > 0.9, "the model itself abstains, here leaning to clean"
    moves, still = Rewarder(babbling, RewardSettings(MOTION))([clip, frozen(clip)])
    assert (moves.parsed, moves.score, moves.reward) == (False, 0.0, 0.0)
    assert still.reward == -1.0


def test_no_video_earns_the_least(rewarder, tmp_path):
    encode(tmp_path / "clip.mp4", moving(DARK).frames, 8)
    nothing, file, named = rewarder([None, tmp_path / "clip.mp4", str(tmp_path / "clip.mp4")])
    assert (nothing.reward, nothing.parsed, nothing.judgement) == (-1.0, False, None)
    assert file == named
    assert file.reward > 0.5
    assert [one.reward for one in rewarder([None])] == [-1.0]
    assert rewarder([]) == []


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (Video(np.zeros((4, 8, 8, 3), np.float32), 8.0), "float32 of shape"),
        (Video(np.zeros((4, 3, 8, 8), np.uint8), 8.0), r"uint8 of shape \(4, 3, 8, 8\)"),
        (Video(np.zeros((0, 8, 8, 3), np.uint8), 8.0), r"shape \(0, 8, 8, 3\)"),
        (Video(np.zeros((4, 8, 8, 3), np.uint8), 0.0), "frame rate is 0"),
        ("no/such.mp4", "no video file"),
    ],
)
def test_what_is_no_video_is_refused(rewarder, video, message):
    with pytest.raises(CacError, match=message):
        rewarder([video])
    assert rewarder.monitor.last is None, "and the monitor has not seen it"


def test_a_trainers_precision_and_random_numbers_are_left_alone(rewarder):
    clip = moving(70)
    expected = rewarder([clip])
    before = torch.get_rng_state()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.enable_grad():
        assert rewarder([clip]) == expected
    assert torch.equal(torch.get_rng_state(), before)


class Meanwhile(list):
    """Videos that, when the rewarder takes them, give another thread the time to get its own rewarded."""

    def __init__(self, videos, rewarder):
        super().__init__(videos)
        self.other = threading.Thread(target=rewarder, args=([None],))

    def __getitem__(self, index):
        self.other.start()
        self.other.join(timeout=0.5)
        self.other_waited = self.other.is_alive()
        return super().__getitem__(index)


def test_threads_wait_for_each_other(rewarder):
    videos = Meanwhile([moving(DARK)], rewarder)
    assert rewarder(videos)[0].parsed
    assert videos.other_waited
    videos.other.join()
    assert rewarder.monitor.last.unparsed_share == 0.5


def test_the_monitor_sees_training_only(rewarder):
    rewarder.evaluate([moving(DARK)])
    assert rewarder.monitor.last is None
    (one,) = rewarder([moving(DARK)])
    assert rewarder.monitor.last.score == one.score
