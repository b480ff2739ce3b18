from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers.rl_clips import BRIGHT, DARK, FPS, moving
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.errors import CacError
from cac.rl.diffusion_reward import DiffusionReward, check_videos

CLIPS = [moving(DARK), moving(BRIGHT), moving(60, seed=3)]
PROMPTS = ["a square", "a square", "another"]


def batch() -> torch.Tensor:
    """The clips as a diffusion pipeline's output_type="pt" gives them."""
    frames = np.stack([clip.frames for clip in CLIPS])
    return torch.from_numpy(frames).permute(0, 1, 4, 2, 3).float() / 255


def test_a_tensor_earns_what_its_frames_earn(rewarder):
    reward = DiffusionReward(rewarder, FPS)
    expected = [one.reward for one in rewarder(CLIPS)]
    given_videos = batch().requires_grad_()
    rewards = reward(given_videos, PROMPTS)
    assert rewards.tolist() == pytest.approx(expected, abs=1e-6)
    assert (rewards.shape, rewards.dtype, rewards.device) == ((3,), torch.float32, given_videos.device)
    assert not rewards.requires_grad
    assert given_videos.grad is None
    assert rewards.std() > 0.1
    again = reward(batch()[[2, 0, 1]], PROMPTS)
    assert again.tolist() == pytest.approx(rewards[[2, 0, 1]].tolist(), abs=1e-5)


def test_half_precision_and_rounding_beyond_the_range_are_taken(rewarder):
    reward = DiffusionReward(rewarder, FPS)
    expected = reward(batch(), PROMPTS)
    assert reward(batch().to(torch.bfloat16), PROMPTS).tolist() == pytest.approx(expected.tolist(), abs=0.05)
    wide = batch() * 1.001 - 0.0005
    assert reward(wide, PROMPTS).tolist() == pytest.approx(expected.tolist(), abs=0.05)


def test_flow_grpo_gets_its_dict_from_a_thread_pool(rewarder):
    reward = DiffusionReward(rewarder, FPS)
    expected = reward(batch(), PROMPTS)
    with ThreadPoolExecutor(max_workers=2) as executor:
        futures = [
            executor.submit(reward.flow_grpo, batch(), PROMPTS, [{}] * 3, only_strict=strict)
            for strict in (True, False)
        ]
    for future in futures:
        details, metadata = future.result()
        assert metadata == {}
        assert torch.equal(details["avg"], expected)
        assert {name: value.shape for name, value in details.items()} == dict.fromkeys(
            ("avg", "cac_score", "cac_motion"), (3,)
        )


def test_prompts_must_be_as_many_as_videos(rewarder):
    with pytest.raises(CacError, match="3 videos but 2 prompts"):
        DiffusionReward(rewarder, FPS)(batch(), PROMPTS[:2])
    with pytest.raises(CacError, match="fps is 0"):
        DiffusionReward(rewarder, 0)


def spoiled(value: float) -> torch.Tensor:
    videos = torch.full((2, 4, 3, 8, 8), 0.5)
    videos[1, 2, 0, 3, 3] = value
    return videos


WRONG = {
    "numpy": (np.zeros((1, 4, 3, 8, 8)), "a ndarray"),
    "image": (torch.zeros(2, 3, 8, 8), r"shape is \(2, 3, 8, 8\)\.$"),
    "channels second": (torch.zeros(2, 3, 7, 8, 8), r"transpose\(1, 2\)"),
    "channels last": (torch.zeros(2, 4, 8, 8, 3), "shape is"),
    "grey": (torch.zeros(2, 4, 1, 8, 8), "shape is"),
    "no video": (torch.zeros(0, 4, 3, 8, 8), "shape is"),
    "no frame": (torch.zeros(2, 0, 3, 8, 8), "shape is"),
    "bytes": (torch.zeros(2, 4, 3, 8, 8, dtype=torch.uint8), "videos / 255"),
    "NaN": (spoiled(float("nan")), "NaN or infinite"),
    "infinite": (spoiled(float("inf")), "NaN or infinite"),
    "from -1": (spoiled(-1.0), r"-1 to 0.5. Of \[-1, 1\]"),
    "to 255": (spoiled(255.0), r"0.5 to 255. Of \[0, 255\]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_batch_is_refused(name):
    videos, message = WRONG[name]
    with pytest.raises(CacError, match=message):
        check_videos(videos)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1, width=32), st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_every_batch_within_the_range_is_taken(value, dtype):
    check_videos(spoiled(value).to(dtype))
