"""The reward with the signatures that trainers of video diffusion models call.

The common form is `(videos, prompts) → rewards`. Flow-GRPO (github.com/yifan123/flow_grpo, `flow_grpo/rewards.py`)
calls `reward_fn(videos, prompts, metadata, only_strict=…)` from a thread pool and wants a dict of per-video scores, the
reward under "avg", and an empty dict of metadata. DanceGRPO writes each video to a file and scores its path, which
`Rewarder` takes as it is. Out of scope: gradients (the score comes from generated text, so there are none), and
the prompts, which are not judged. A tensor's pixels are judged as they are; the file that is written of them later is
compressed, so its score can differ a little.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cac.errors import CacError
from cac.rl.monitor import VideoReward
from cac.rl.reward import Rewarder
from cac.video.decode import Video

if TYPE_CHECKING:
    from torch import Tensor

_OVERSHOOT = 1e-3  # beyond [0, 1] that is rounding; it is cut off
_EXPECTED = "videos must be floats in [0, 1] of shape (videos, frames, 3, height, width)"


class DiffusionReward:
    """A reward function for tensors of videos at one frame rate."""

    def __init__(self, rewarder: Rewarder, fps: float) -> None:
        if not fps > 0:
            raise CacError(f"fps is {fps}; give the generator's frames a second.")
        self._rewarder = rewarder
        self._fps = fps

    def __call__(self, videos: "Tensor", prompts: Sequence[str]) -> "Tensor":
        """Return the rewards, float32 of shape (videos,), on the videos' device and without gradient.

        Args:
            videos: floats in [0, 1], shape (videos, frames, 3, height, width).
            prompts: one a video; only counted.

        Raises:
            CacError: shape, type or range is wrong, or a value is not finite.
        """
        return _column([one.reward for one in self._reward(videos, prompts)], videos)

    def flow_grpo(
        self, videos: "Tensor", prompts: Sequence[str], metadata: Any = None, only_strict: bool = True
    ) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
        """Do the same as Flow-GRPO's `reward_fn`: the reward under "avg", score and motion beside it, no metadata.

        `metadata` and `only_strict` are accepted because it passes them; nothing depends on them.
        """
        rewarded = self._reward(videos, prompts)
        details = {
            "avg": [one.reward for one in rewarded],
            "cac_score": [one.score for one in rewarded],
            "cac_motion": [one.motion for one in rewarded],
        }
        return {name: _column(values, videos) for name, values in details.items()}, {}

    def _reward(self, videos: "Tensor", prompts: Sequence[str]) -> list[VideoReward]:
        check_videos(videos)
        if len(prompts) != len(videos):
            raise CacError(f"{len(videos)} videos but {len(prompts)} prompts; give one prompt a video.")
        return self._rewarder([self._video(video) for video in videos.detach()])

    def _video(self, video: "Tensor") -> Video:
        """Turn (frames, 3, height, width) in [0, 1] into uint8 frames."""
        import torch

        pixels = (video.float().clamp(0, 1) * 255).round().to(torch.uint8)
        return Video(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy(), self._fps)


def _column(values: list[float], videos: "Tensor") -> "Tensor":
    import torch

    return torch.tensor(values, dtype=torch.float32, device=videos.device)


def check_videos(videos: "Tensor") -> None:
    """Check a batch of videos before it is scored.

    Raises:
        CacError: it is no tensor of floats in [0, 1] of shape (videos, frames, 3, height, width).
    """
    import torch

    if not isinstance(videos, torch.Tensor):
        raise CacError(f"{_EXPECTED}, but they are a {type(videos).__name__}. Ask the pipeline for output_type='pt'.")
    shape = tuple(videos.shape)
    if videos.ndim == 5 and shape[1] == 3 and shape[2] != 3:
        raise CacError(f"{_EXPECTED}, but the shape is {shape}. Channels second? Pass videos.transpose(1, 2).")
    if videos.ndim != 5 or shape[2] != 3 or 0 in shape:
        raise CacError(f"{_EXPECTED}, but the shape is {shape}.")
    if not videos.is_floating_point():
        raise CacError(f"{_EXPECTED}, but they are {videos.dtype}. Of uint8, pass videos / 255.")
    if not bool(torch.isfinite(videos).all()):
        raise CacError(f"{_EXPECTED}, but a value is NaN or infinite: the generator or its decoder overflowed.")
    _check_range(float(videos.detach().min()), float(videos.detach().max()))


def _check_range(low: float, high: float) -> None:
    if low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT:
        return
    hint = "Of [-1, 1], pass (videos + 1) / 2." if low < 0 and high <= 1.1 else "Of [0, 255], pass videos / 255."
    raise CacError(f"{_EXPECTED}, but they reach from {low:.3g} to {high:.3g}. {hint}")
