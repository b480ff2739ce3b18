"""Features that reveal artefacts without looking at the content: compression, sharpness, noise, seams at the boxes.

If they distinguish clean from defective clips, the injector left artefacts, and a model would learn these instead of
the defects. Out of scope: the classifier (`leak_check.py`).
"""

from pathlib import Path

import cv2
import numpy as np

from cac.schema.annotations import Anomaly, Clip
from cac.video.decode import decode

_EPSILON = 1e-3
_BLOCK = 8
_STEP = 2  # every second frame is used


def clip_features(dataset: Path, clip: Clip, anomaly: Anomaly) -> dict[str, float]:
    """Return the features of one clip by name; `anomaly` is that of its pair, so that both twins have the same boxes.

    Raises:
        CacError: the file is missing or cannot be decoded.
    """
    path = dataset / clip.path
    frames = decode(path).frames
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]).astype(np.float32)
    sizes = packet_sizes(path)
    return {
        **_compression(sizes, path.stat().st_size, frames.shape),
        **_sharpness(grey[::_STEP]),
        **_blockiness(grey[::_STEP]),
        **_stillness(grey),
        **_seams(grey, anomaly),
    }


def packet_sizes(path: Path) -> np.ndarray:
    """Return the bytes of each coded frame, in the order they are stored."""
    import av

    with av.open(str(path)) as container:
        return np.array([packet.size for packet in container.demux(video=0) if packet.size], dtype=float)


def _compression(sizes: np.ndarray, total: int, shape: tuple[int, ...]) -> dict[str, float]:
    later = np.log(sizes[1:] + 1) if len(sizes) > 1 else np.zeros(1)
    return {
        "bits_per_pixel": float(np.log(8 * total / np.prod(shape[:3]))),
        "frame_bits_spread": float(later.std()),
        "frame_bits_peak": float(later.max() - np.median(later)),
        "frame_bits_jump": float(np.abs(np.diff(later)).max()) if len(later) > 1 else 0.0,
        "first_frame_share": float(sizes[0] / sizes.sum()),
    }


def _sharpness(grey: np.ndarray) -> dict[str, float]:
    """High frequencies and residual noise: of whole frames, and of the smoothest and roughest blocks."""
    laplacian = np.log([np.abs(cv2.Laplacian(frame, cv2.CV_32F)).mean() + _EPSILON for frame in grey])
    residual = np.stack([np.abs(frame - cv2.medianBlur(frame.astype(np.uint8), 3)) for frame in grey])
    blocks = np.log(_block_means(residual) + _EPSILON)
    per_frame = np.log(residual.mean(axis=(1, 2)) + _EPSILON)
    return {
        "high_frequency": float(laplacian.mean()),
        "high_frequency_spread": float(laplacian.std()),
        "high_frequency_range": float(np.ptp(laplacian)),
        "noise": float(per_frame.mean()),
        "noise_spread": float(per_frame.std()),
        "noise_smoothest": float(np.percentile(blocks, 2)),
        "noise_roughest": float(np.percentile(blocks, 98)),
        "noise_change": float(np.percentile(np.abs(np.diff(blocks, axis=0)), 95)),
    }


def _blockiness(grey: np.ndarray) -> dict[str, float]:
    """How much greater the steps across the coder's block borders are than elsewhere."""
    across, along = np.abs(np.diff(grey, axis=2)).mean(axis=(0, 1)), np.abs(np.diff(grey, axis=1)).mean(axis=(0, 2))
    ratios = []
    for steps in (across, along):
        border = np.arange(1, len(steps) + 1) % _BLOCK == 0
        ratios.append(np.log((steps[border].mean() + _EPSILON) / (steps[~border].mean() + _EPSILON)))
    return {"blockiness_columns": float(ratios[0]), "blockiness_rows": float(ratios[1])}


def _stillness(grey: np.ndarray) -> dict[str, float]:
    """How many blocks stay as they were from a frame to the next, which a coder skips."""
    change = _block_means(np.abs(np.diff(grey, axis=0)))
    still = (change < 0.5).mean(axis=(1, 2))
    return {
        "still_blocks": float(still.mean()),
        "still_blocks_range": float(np.ptp(still)),
        "change_smallest": float(np.log(np.percentile(change, 2) + 0.1)),
        "change_largest": float(np.log(np.percentile(change, 98) + 0.1)),
    }


def _seams(grey: np.ndarray, anomaly: Anomaly) -> dict[str, float]:
    """Steps across the borders of the boxes and noise inside them, against what is around; means over the window.

    Changes over time are not used: they would show whether the box follows its content, which is not an artefact.
    """
    height, width = grey.shape[1:]
    across, noise = [], []
    for frame_box in anomaly.boxes:
        frame = grey[min(frame_box.frame, len(grey) - 1)]
        steps = np.hypot(cv2.Sobel(frame, cv2.CV_32F, 1, 0), cv2.Sobel(frame, cv2.CV_32F, 0, 1))
        residual = np.abs(frame - cv2.GaussianBlur(frame, (0, 0), 1))
        x1, y1, x2, y2 = frame_box.box
        inner = _rectangle(frame.shape, (x1 * width + 3, y1 * height + 3, x2 * width - 3, y2 * height - 3))
        box = _rectangle(frame.shape, (x1 * width - 3, y1 * height - 3, x2 * width + 3, y2 * height + 3))
        around = _rectangle(frame.shape, (x1 * width - 12, y1 * height - 12, x2 * width + 12, y2 * height + 12)) & ~box
        across.append(_log_ratio(steps, box & ~inner, around))
        noise.append(_log_ratio(residual, inner, around))
    return {
        "seam": float(np.mean(across)),
        "noise_in_box": float(np.mean(noise)),
    }


def _rectangle(shape: tuple[int, ...], corners: tuple[float, float, float, float]) -> np.ndarray:
    x1, y1, x2, y2 = (max(0, round(value)) for value in corners)
    inside = np.zeros(shape, dtype=bool)
    inside[y1:y2, x1:x2] = True
    return inside


def _log_ratio(values: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    if not one.any() or not other.any():
        return 0.0
    return float(np.log((values[one].mean() + _EPSILON) / (values[other].mean() + _EPSILON)))


def _block_means(values: np.ndarray) -> np.ndarray:
    """Return the means of blocks, (n, rows, columns), of values (n, height, width); what does not fill one is left."""
    count, height, width = values.shape
    rows, columns = height // _BLOCK, width // _BLOCK
    cut = values[:, : rows * _BLOCK, : columns * _BLOCK]
    means: np.ndarray = cut.reshape(count, rows, _BLOCK, columns, _BLOCK).mean(axis=(2, 4))
    return means
