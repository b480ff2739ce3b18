"""One pair: a segment, the same segment with a defect, the annotation of the defect, and the pair's id.

Window, region and details are drawn from the given generator, so the same inputs give the same pair. Out of scope:
files, and which leaf a segment gets (`batch.py`).
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cac.data.injection.catalogue import REGION_DEFECTS, TEXT_DEFECTS, EffectSpec
from cac.data.injection.effects.effect import EffectInput
from cac.data.injection.effects.layers import Layer, blend, layer_box
from cac.data.injection.effects.text import caption_layer, draw_caption, render_caption
from cac.data.injection.motion import Motion
from cac.data.injection.region import NoRegionError, choose_region
from cac.schema.annotations import Anomaly, FrameBox
from cac.schema.geometry import rounded_box
from cac.schema.taxonomy import family_of

MARGIN = 2  # frames at both ends without the defect
MIN_WINDOW = 6  # frames
FADE_FRAMES = 2  # frames at both ends of the window in which the defect comes and goes
MAX_WINDOW_RATIO = 0.4  # share of the segment
MIN_CHANGE = 1.5  # mean change of the grey levels inside the mask, of 255; below it the defect is invisible
MIN_SEVERITY = 0.2


@dataclass(frozen=True)
class DefectRequest:
    """The defect to make: its leaf, and its severity in (0, 1]."""

    leaf: str
    severity: float


@dataclass(frozen=True)
class Pair:
    """Twins, uint8 (n, height, width, 3) each, and the second one's anomaly."""

    clean: np.ndarray
    defective: np.ndarray
    anomaly: Anomaly


def make_pair(frames: np.ndarray, motion: Motion, fps: float, request: DefectRequest, rng: np.random.Generator) -> Pair:
    """Return the pair of a segment.

    Raises:
        NoRegionError: the segment has no suitable region for this leaf, or the defect would be invisible.
    """
    if request.leaf in TEXT_DEFECTS:
        clean, layers = _text(frames, request, rng)
    else:
        clean, layers = frames, _on_region(frames, motion, request, rng)
    defective = clean.copy()
    for t, layer in _fade_in_and_out(layers).items():
        defective[t] = blend(clean[t], layer)
    _check_change(clean, defective, layers)
    return Pair(clean, defective, _annotate(request, layers, fps))


def _on_region(
    frames: np.ndarray, motion: Motion, request: DefectRequest, rng: np.random.Generator
) -> dict[int, Layer]:
    spec = REGION_DEFECTS[request.leaf]
    first, last = _draw_window(len(frames), spec, rng)
    region = choose_region(frames, motion, (first, last), spec.min_travel, rng)
    inputs = EffectInput(frames, region, first, last, request.severity, rng)
    return dict(zip(inputs.times, spec.make(inputs), strict=True))


def _text(frames: np.ndarray, request: DefectRequest, rng: np.random.Generator) -> tuple[np.ndarray, dict[int, Layer]]:
    """Return the segment with a caption, and the layers that make it defective."""
    first, last = _draw_window(len(frames), None, rng)
    caption = draw_caption((frames.shape[2], frames.shape[1]), request.severity, rng)
    render_frame = TEXT_DEFECTS[request.leaf](caption, request.severity, rng)
    intact = render_caption(caption)
    clean = np.stack([blend(frame, caption_layer(frame, caption, intact)) for frame in frames])
    return clean, {t: caption_layer(clean[t], caption, render_frame(t - first)) for t in range(first, last + 1)}


def _draw_window(count: int, spec: EffectSpec | None, rng: np.random.Generator) -> tuple[int, int]:
    """Return the window's first and last frame, with the room the defect needs before and after it."""
    before, after = (spec.before, spec.after) if spec else (0.0, 0.0)
    room = count - 2 * MARGIN
    most = min(int(MAX_WINDOW_RATIO * count), int(room / (1 + before + after)))
    if most < MIN_WINDOW:
        raise NoRegionError(f"{count} frames leave no room for the window")
    length = int(rng.integers(max(MIN_WINDOW, most // 2), most + 1))
    earliest, latest = MARGIN + int(np.ceil(before * length)), count - MARGIN - length - int(np.ceil(after * length))
    first = int(rng.integers(earliest, max(earliest, latest) + 1))
    return first, first + length - 1


def _fade_in_and_out(layers: dict[int, Layer]) -> dict[int, Layer]:
    """Return the layers weaker towards the window's ends, over `FADE_FRAMES` frames.

    An abrupt start or end costs the codec a burst of bits, which alone would reveal the defect.
    """
    first, last = min(layers), max(layers)
    strength = {t: np.float32(min(1.0, (min(t - first, last - t) + 1) / (FADE_FRAMES + 1))) for t in layers}
    return {t: replace(layer, mask=layer.mask * strength[t]) for t, layer in layers.items()}


def _check_change(clean: np.ndarray, defective: np.ndarray, layers: dict[int, Layer]) -> None:
    changes = []
    for t, layer in layers.items():
        difference = np.abs(defective[t].astype(float) - clean[t]).mean(axis=-1)
        changes.append(float(difference[layer.mask > 0.02].mean()) if (layer.mask > 0.02).any() else 0.0)
    if max(changes) < MIN_CHANGE or min(changes) == 0:
        raise NoRegionError("the defect would not be seen there")


def _annotate(request: DefectRequest, layers: dict[int, Layer], fps: float) -> Anomaly:
    first, last = min(layers), max(layers)
    try:
        boxes = tuple(FrameBox(frame=t, box=rounded_box(layer_box(layer))) for t, layer in layers.items())
    except ValueError as error:
        raise NoRegionError("the defect would leave the frame") from error
    return Anomaly(
        family=family_of(request.leaf),
        leaf=request.leaf,
        window=(round(first / fps, 7), round((last + 1) / fps, 7)),  # validation tolerates a millionth
        boxes=boxes,
        saliency=round(request.severity, 3),
    )


def name_pair(file: str, digest: str, segment: int, number: int) -> str:
    """Return the id of pair `number` of a segment; `digest` is the SHA-256 of the video's content.

    `schema/linked_clips.py` reads it.
    """
    return f"{_slug(file)}-{digest[:8]}-s{segment:04d}-p{number}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", Path(name).with_suffix("").as_posix().lower()).strip("-")[:40] or "video"
