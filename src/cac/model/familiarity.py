"""How far a clip lies from those that the calibration saw: a score says little about a clip of another kind.

Calibration holds for clips like the val split's. `Familiarity` remembers their traits (size, length, rate, motion,
light, colour, sharpness) as ranges, and where the vision tower's embedding of their frames lies. A clip outside is
marked `out_of_distribution`, with the reason. Distances are those of standardised features (Mahalanobis with a
diagonal covariance, as Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples", use
with a full one); the limit is the largest distance of a val clip that did not count towards the mean, with a margin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cac.errors import CacError
from cac.video.motion import mean_motion
from cac.video.views import coarse_view

if TYPE_CHECKING:
    from cac.frames import Frames
    from cac.video.decode import AnyVideo

OUT_OF_DISTRIBUTION = "out_of_distribution"
_MARGIN = 0.5  # of a range's width, allowed beyond both of its ends
_DISTANCE_MARGIN = 1.25
MIN_CLIPS = 5
_MOTION_SECONDS = 8.0  # of a clip whose motion is measured: a long file is not decoded whole for it
_FRAMES = 4  # of the coarse view, whose light, colour and sharpness are measured
_UNITS = {"longest_side": " px", "duration": " s", "fps": " frames/s", "motion": " diagonals/s"}
_DIGITS = 6


@dataclass(frozen=True)
class Traits:
    """What is measured of one clip: named numbers, and the mean embedding of its coarse frames, shape (hidden,)."""

    values: Mapping[str, float]
    embedding: np.ndarray


@dataclass(frozen=True)
class Familiarity:
    """The clips that the calibration saw.

    Attributes:
        ranges: trait -> the lowest and the highest value that still counts as familiar.
        mean, scale: of the embeddings, by dimension.
        max_distance: the largest familiar distance from the mean, in standard deviations a dimension.
    """

    ranges: dict[str, tuple[float, float]]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    max_distance: float

    def warnings(self, traits: Traits) -> tuple[str, ...]:
        """Return why a clip is unlike those that the calibration saw; nothing for a familiar one."""
        reasons = [
            f"{name.replace('_', ' ')} {traits.values[name]:.3g}{_UNITS.get(name, '')}, "
            f"calibrated on {low:.3g} to {high:.3g}"
            for name, (low, high) in self.ranges.items()
            if not low <= traits.values[name] <= high
        ]
        distance = self.distance(traits.embedding)
        if distance > self.max_distance:
            reasons.append(f"content at distance {distance:.2f}, calibrated up to {self.max_distance:.2f}")
        return (f"{OUT_OF_DISTRIBUTION}: {'; '.join(reasons)}",) if reasons else ()

    def distance(self, embedding: np.ndarray) -> float:
        """Return the root mean square of the standardised embedding."""
        return _distance(embedding, np.array(self.mean), np.array(self.scale))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Familiarity":
        """Read the data that `to_dict` wrote, also after a JSON round trip."""
        ranges = {name: (low, high) for name, (low, high) in data["ranges"].items()}
        return cls(ranges, tuple(data["mean"]), tuple(data["scale"]), data["max_distance"])


def fit_familiarity(clips: Sequence[Traits]) -> Familiarity:
    """Return what the clips of the calibration have in common.

    Raises:
        CacError: there are too few clips to set some aside.
    """
    if len(clips) < MIN_CLIPS:
        raise CacError(f"{len(clips)} clips are too few to say which others are like them: give at least {MIN_CLIPS}.")
    embeddings = np.stack([clip.embedding for clip in clips]).astype(np.float64)
    mean, scale = _moments(embeddings)
    ranges = {name: _range([clip.values[name] for clip in clips]) for name in clips[0].values}
    rounded = [tuple(np.round(values, _DIGITS).tolist()) for values in (mean, scale)]
    return Familiarity(ranges, rounded[0], rounded[1], round(_DISTANCE_MARGIN * _largest_distance(embeddings), _DIGITS))


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = max(_MARGIN * (high - low), 0.1 * abs(high))
    return round(max(0.0, low - margin), _DIGITS), round(high + margin, _DIGITS)


def _moments(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = embeddings.std(axis=0)
    return embeddings.mean(axis=0), np.maximum(scale, 1e-3 * max(float(scale.max()), 1e-6))


def _largest_distance(embeddings: np.ndarray) -> float:
    """Return the largest distance of a clip from the others, by cross-validation."""
    folds = np.arange(len(embeddings)) % MIN_CLIPS
    distances = []
    for fold in range(MIN_CLIPS):
        moments = _moments(embeddings[folds != fold])
        distances += [_distance(one, *moments) for one in embeddings[folds == fold]]
    return max(distances)


def _distance(embedding: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> float:
    return float(np.sqrt(np.mean(((embedding - mean) / scale) ** 2)))


def measure(videos: Sequence["AnyVideo"], model: Any, processor: Any, frames: "Frames") -> list[Traits]:
    """Return the traits of videos, each from its coarse frames.

    Args:
        videos: decoded.
        model: a Qwen3-VL, or one with the same `get_image_features`.
        processor: its processor.
        frames: the sizes and numbers of frames that the model sees.
    """
    return [Traits(_values(video, frames), _embedding(video, model, processor, frames)) for video in videos]


def _values(video: "AnyVideo", frames: "Frames") -> dict[str, float]:
    import cv2

    width, height = video.size
    images = [np.asarray(image) for image in _few_frames(video, frames)]
    hsv = [cv2.cvtColor(image, cv2.COLOR_RGB2HSV) for image in images]
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    return {
        "longest_side": float(max(height, width)),
        "aspect_ratio": width / height,
        "duration": video.duration,
        "fps": video.fps,
        "motion": mean_motion(video, _MOTION_SECONDS),
        "brightness": float(np.mean([one[..., 2].mean() for one in hsv])) / 255,
        "saturation": float(np.mean([one[..., 1].mean() for one in hsv])) / 255,
        "sharpness": float(np.mean([np.log1p(cv2.Laplacian(one, cv2.CV_64F).var()) for one in grey])),
    }


def _few_frames(video: "AnyVideo", frames: "Frames") -> list[Any]:
    return coarse_view(video, frames).images[:: max(1, frames.coarse_count // _FRAMES)]


def _embedding(video: "AnyVideo", model: Any, processor: Any, frames: "Frames") -> np.ndarray:
    """Return the mean embedding of the coarse frames' patches, shape (hidden,)."""
    import torch

    inputs = processor.image_processor(images=_few_frames(video, frames), return_tensors="pt").to(model.device)
    with torch.inference_mode():
        features = model.get_image_features(
            inputs["pixel_values"].to(model.dtype), inputs["image_grid_thw"], return_dict=True
        )
    pooled = torch.cat([one.float().mean(dim=0, keepdim=True) for one in features.pooler_output]).mean(dim=0)
    result: np.ndarray = pooled.cpu().numpy()
    return result
