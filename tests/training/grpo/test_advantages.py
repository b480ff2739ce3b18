import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cac.training.grpo.advantages import group_advantages, token_advantages, turn_weights

rewards = st.lists(st.floats(-2, 5), min_size=8, max_size=8).map(torch.tensor)


@given(rewards, st.sampled_from(["group", "batch", "none"]))
def test_the_advantages_of_a_group_cancel_and_keep_the_rewards_order(values: torch.Tensor, scale: str) -> None:
    advantages = group_advantages(values, 4, scale).view(2, 4)
    assert advantages.sum(dim=1) == pytest.approx(torch.zeros(2), abs=1e-3)
    for reward, advantage in zip(values.view(2, 4), advantages, strict=True):
        assert torch.all(advantage[reward.argmax()] >= advantage - 1e-6)


def test_a_group_of_equal_rewards_teaches_nothing() -> None:
    values = torch.tensor([1.0, 1.0, 0.0, 2.0])
    assert group_advantages(values, 2, "group").tolist() == pytest.approx([0, 0, -0.7070, 0.7070], abs=1e-4)
    assert group_advantages(values, 2, "none").tolist() == [0, 0, -1, 1]


def test_tokens_are_credited_with_their_own_turn() -> None:
    mask = torch.tensor([[1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1]])  # the second rollout never called the tool
    spread = token_advantages(torch.tensor([3.0, 4.0]), torch.tensor([5.0, 6.0]), mask)
    assert spread.tolist() == [[3, 3, 5, 5, 5, 5], [4] * 6]


def test_the_scan_is_credited_with_what_it_covers_and_the_look_with_the_final_answer() -> None:
    weights = {
        "accuracy": 2.0,
        "scan": 0.7,
        "temporal_iou": 1.0,
        "spatial_iou": 3.0,
        "attribution": 0.5,
        "format": 0.2,
    }
    by_turn = turn_weights(list(weights), weights, verdict_share=0.25)
    assert by_turn == [(0.5, 2.0), (0.7, 0.0), (0.0, 1.0), (0.0, 3.0), (0.0, 0.5), (0.2, 0.2)]
