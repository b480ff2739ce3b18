"""What a trained model must beat: always the more frequent class, and a detector of sudden change between frames.

Both answer with full `Judgement`s, so that every metric is measured the same way. Neither learns a representation;
what they fit are a class count, and a threshold and a window rule on training clips. Attribution is the most
frequent training leaf: neither can tell kinds apart.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cac.errors import CacError
from cac.schema.annotations import Clip
from cac.schema.dialogue import Finding, Look, write_look
from cac.schema.geometry import Box, Window, temporal_iou
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import family_of
from cac.video.decode import AnyVideo

_SIDE = 128  # pixels; frames of at least twice this length are compared at this size
_WINDOW_FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_REGION_FRACTION = 0.4  # of the strongest pixel change; what belongs to the changed region
_NOISE_FLOORS = (0.02, 0.1, 0.3, 1.0)  # grey levels of mean change; a smaller spread between frames is noise


@dataclass(frozen=True)
class _Evidence:
    """What an anomalous answer of a baseline says: when and where."""

    window: Window
    findings: tuple[tuple[float, Box], ...]


def _judgement(margin: float, evidence: _Evidence | None, leaf: str | None, frames_seen: int) -> Judgement:
    """Write an answer in the dialogue's grammar; no evidence is a clean verdict."""
    if evidence is None or leaf is None:
        look = Look((), None, None, "clean")
        windows: tuple[Window, ...] = ()
    else:
        findings = tuple(Finding(time, box) for time, box in evidence.findings)
        look = Look(findings, family_of(leaf), leaf, "anomalous")
        windows = (evidence.window,)
    return Judgement(
        margin=margin,
        verdict=look.verdict,
        windows=windows,
        findings=look.findings,
        family=look.family,
        leaf=look.leaf,
        parsed=True,
        frames_seen=frames_seen,
        scan_text="",
        look_text=write_look(look),
    )


def _most_frequent_leaf(clips: Sequence[Clip]) -> str | None:
    counts = Counter(anomaly.leaf for clip in clips for anomaly in clip.anomalies)
    return min(counts, key=lambda leaf: (-counts[leaf], leaf)) if counts else None


class Majority:
    """Says of every video what most training clips are; a tie is clean. An anomaly is the whole clip, whole frame."""

    margin: float
    leaf: str | None

    def fit(self, clips: Sequence[Clip]) -> "Majority":
        """Count the classes.

        Raises:
            CacError: there is no clip to fit on.
        """
        if not clips:
            raise CacError("no clip to fit the majority baseline on: the train split is empty.")
        clean = sum(clip.is_clean for clip in clips)
        self.margin = float(np.log((clean + 1) / (len(clips) - clean + 1)))
        self.leaf = _most_frequent_leaf(clips)
        return self

    def judge(self, videos: Iterable[AnyVideo]) -> list[Judgement]:
        """Return the same verdict for every video."""
        return [self._judge(video) for video in videos]

    def _judge(self, video: AnyVideo) -> Judgement:
        if self.margin >= 0:
            return _judgement(self.margin, None, None, frames_seen=0)
        whole = (0.0, 0.0, 1.0, 1.0)
        ends = tuple((video.times[index], whole) for index in sorted({0, video.frame_count - 1}))
        return _judgement(self.margin, _Evidence((0.0, video.duration), ends), self.leaf, frames_seen=0)


def _changes(video: AnyVideo) -> np.ndarray:
    """Return each frame's mean absolute difference from the one before, grey levels, shape (frames,); the first is 0.

    In uint8, because every clip of the training split is measured.
    """
    frames = video.frames_at(range(video.frame_count), _SIDE)
    changes = [(np.maximum(before, after) - np.minimum(before, after)).mean() for before, after in pairwise(frames)]
    return np.array([0.0, *changes])


def _surprise(changes: np.ndarray, noise_floor: float) -> np.ndarray:
    """Return how far each frame's change lies above the clip's median change, in robust standard deviations."""
    inner = changes[1:] if len(changes) > 1 else changes
    middle = np.median(inner)
    spread = 1.4826 * np.median(np.abs(inner - middle)) + noise_floor
    result: np.ndarray = np.maximum(0, (changes - middle) / spread)
    return result


def _window(surprise: np.ndarray, fraction: float, fps: float) -> Window:
    """Return the span, in seconds, of the frames whose surprise reaches `fraction` of the peak's.

    A defect that comes and goes changes its first frame and the first frame after it, so the last change ends the
    window; a single one lasts a frame.
    """
    frames = np.flatnonzero(surprise >= fraction * surprise.max())
    first, last = int(frames[0]), int(frames[-1])
    return (first / fps, max(last, first + 1) / fps)


class FrameDifference:
    """Calls a video anomalous if one frame differs from the one before far more than frames of this video do.

    The window spans the frames of great change, the box holds the largest region that changed at the greatest.
    """

    noise_floor: float
    threshold: float
    window_fraction: float
    leaf: str | None

    def fit(self, clips: Sequence[Clip], videos: Iterable[AnyVideo]) -> "FrameDifference":
        """Choose noise floor and threshold by balanced accuracy, then the window's fraction by mean temporal IoU.

        `videos` are the clips' decoded files in the same order; an iterator is enough.

        Raises:
            CacError: the clips lack a class, without which no threshold can be chosen.
        """
        changes = [_changes(video) for _, video in zip(clips, videos, strict=True)]
        anomalous = np.array([not clip.is_clean for clip in clips])
        if anomalous.all() or not anomalous.any():
            raise CacError(
                "the frame-difference baseline needs clean and anomalous training clips; one class is absent."
            )
        cuts = []
        for floor in _NOISE_FLOORS:
            peaks = np.array([_surprise(change, floor).max() for change in changes])
            cuts.append((*_best_threshold(peaks, anomalous), floor))
        _, self.threshold, self.noise_floor = max(cuts, key=lambda cut: cut[0])
        self.window_fraction = max(
            _WINDOW_FRACTIONS, key=lambda fraction: self._window_overlap(changes, clips, fraction)
        )
        self.leaf = _most_frequent_leaf(clips)
        return self

    def _window_overlap(self, changes: Sequence[np.ndarray], clips: Sequence[Clip], fraction: float) -> float:
        return sum(
            temporal_iou([_window(_surprise(change, self.noise_floor), fraction, clip.fps)], clip.windows)
            for change, clip in zip(changes, clips, strict=True)
            if not clip.is_clean and clip.has_all_windows
        )

    def judge(self, videos: Iterable[AnyVideo]) -> list[Judgement]:
        """Return a judgement of each video; the margin is the log ratio of threshold and peak surprise."""
        return [self._judge(video) for video in videos]

    def _judge(self, video: AnyVideo) -> Judgement:
        surprise = _surprise(_changes(video), self.noise_floor)
        margin = float(np.log1p(self.threshold) - np.log1p(surprise.max()))
        if margin >= 0:
            return _judgement(margin, None, None, video.frame_count)
        window = _window(surprise, self.window_fraction, video.fps)
        box = _largest_region(video, int(surprise.argmax()))
        last_frame = max(window[0], window[1] - 1 / video.fps)
        findings = tuple((time, box) for time in sorted({window[0], last_frame}))
        return _judgement(margin, _Evidence(window, findings), self.leaf, video.frame_count)


def _best_threshold(peaks: np.ndarray, anomalous: np.ndarray) -> tuple[float, float]:
    """Return the best balanced accuracy that a cut between neighbouring peaks gives, and the lowest such cut."""
    levels = np.unique(peaks)
    cuts = np.concatenate([(levels[1:] + levels[:-1]) / 2, levels[-1:]])
    flagged = peaks[None, :] > cuts[:, None]
    balanced = (flagged[:, anomalous].mean(axis=1) + 1 - flagged[:, ~anomalous].mean(axis=1)) / 2
    best = int(np.argmax(balanced))
    return float(balanced[best]), float(cuts[best])


def _largest_region(video: AnyVideo, index: int) -> Box:
    """Return the bounding box, normalised, of the connected region that changed most since the frame before."""
    from scipy.ndimage import find_objects, gaussian_filter, label

    before, after = (frame.astype(float) for frame in video.frames_at([index - 1, index], _SIDE))
    difference = np.abs(after - before).mean(axis=2)
    smooth = gaussian_filter(difference, sigma=1.5)
    regions, count = label(smooth >= _REGION_FRACTION * smooth.max())
    mass = [float(difference[regions == number].sum()) for number in range(1, count + 1)]
    rows, columns = find_objects(regions)[int(np.argmax(mass))]
    height, width = difference.shape
    return (columns.start / width, rows.start / height, columns.stop / width, rows.stop / height)
