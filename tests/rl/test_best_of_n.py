from itertools import pairwise

import pytest
from helpers.rl_clips import BRIGHT, DARK, frozen, moving
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.errors import CacError
from cac.rl.best_of_n import best_of_n, rank

REWARDS = st.lists(st.floats(-2, 2) | st.sampled_from([0.5, 0.5 + 1e-9, 0.25]), min_size=1, max_size=12)


@settings(deadline=None)
@given(REWARDS)
def test_an_order_holds_every_video_once_by_falling_reward(rewards):
    order = rank(rewards)
    assert sorted(order) == list(range(len(rewards)))
    assert all(rewards[a] >= rewards[b] - 1e-6 for a, b in pairwise(order))


def test_of_equals_the_first_given_comes_first():
    assert rank([0.1, 0.9, 0.1 + 1e-9, 0.9, -0.0, 0.0]) == (1, 3, 0, 2, 4, 5)


def test_the_best_is_clean_and_moves(rewarder):
    still = frozen(moving(DARK))
    clips = [moving(BRIGHT), still, moving(DARK), frozen(moving(BRIGHT)), moving(DARK)]
    ranking = best_of_n(rewarder, clips)
    assert ranking.best == 2
    assert ranking.order == (2, 4, 0, 1, 3)
    assert ranking.rewarded[0].reward < ranking.rewarded[2].reward, "in the order given"
    assert ranking.rewarded[1].score > ranking.rewarded[0].score, "by score alone the still clip would be second"
    assert rewarder.monitor.last is None
    assert best_of_n(rewarder, clips) == ranking


def test_none_of_no_videos_is_best(rewarder):
    with pytest.raises(CacError, match="no video to choose from"):
        best_of_n(rewarder, [])
