"""Synthetic clips, judgements and videos of known worth, as session-wide factories."""

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
import pytest

from cac.schema.annotations import Anomaly, Clip, Distractor, FrameBox
from cac.schema.dialogue import Finding, Look, write_look
from cac.schema.geometry import Box
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import LEAVES, family_of
from cac.video.decode import Video

FPS, FRAMES, SIZE = 8, 16, 96
LAMP = Distractor(name="lamp", window=(0.5, 1.0))


def clip_of(pair: int, leaf: str | None = None, window: tuple[int, int] = (4, 9)) -> Clip:
    """A clip of pair `pair`; with a leaf it has that anomaly in frames window[0] to window[1], end exclusive.

    Every second pair has a distractor.
    """
    anomalies = []
    if leaf is not None:
        boxes = [{"frame": frame, "box": square_at(pair, frame)} for frame in range(*window)]
        seconds = (window[0] / FPS, window[1] / FPS)
        anomalies = [
            Anomaly(family=family_of(leaf), leaf=leaf, window=seconds, saliency=0.7,
                    boxes=tuple(FrameBox.model_validate(box) for box in boxes))
        ]  # fmt: skip
    name = f"pair{pair:03d}-{leaf or 'clean'}"
    return Clip(
        clip_id=name, path=f"clips/{name}.mp4", sha256=sha256(name.encode()).hexdigest(),
        fps=float(FPS), frame_count=FRAMES,
        width=SIZE, height=SIZE, source="test", generator="test", split="test", pair_id=f"pair{pair:03d}",
        anomalies=tuple(anomalies), distractors=() if pair % 2 else (LAMP,),
    )  # fmt: skip


def square_at(pair: int, frame: int) -> Box:
    """Where the moving square of a pair is."""
    x, y = 0.1 + 0.03 * frame, 0.2 + 0.05 * (pair % 8)
    return (x, y, x + 0.25, y + 0.25)


def answer(clip: Clip, anomaly: Anomaly | None, margin: float, shift: float = 0.0) -> Judgement:
    """A judgement that names `anomaly` (None: clean) with its window and boxes, moved by `shift` seconds and tenths."""
    findings: tuple[Finding, ...] = ()
    windows: tuple[tuple[float, float], ...] = ()
    if anomaly is not None:
        start, end = anomaly.window
        windows = ((max(0.0, start + shift), end + shift),)
        findings = tuple(
            Finding(box.frame / clip.fps + shift, (box.box[0], box.box[1], box.box[2], box.box[3]))
            for box in anomaly.boxes
        )
    leaf = anomaly.leaf if anomaly else None
    family = family_of(leaf) if leaf else None
    look = Look(findings, family, leaf, "anomalous" if leaf else "clean")
    return Judgement(
        margin=margin, verdict=look.verdict, windows=windows, findings=findings, family=family, leaf=leaf,
        parsed=True, frames_seen=14, scan_text="0.1 clear\n0.6 odd" if leaf else "0.1 clear\n0.6 clear",
        look_text=write_look(look),
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Clip]:
    return clip_of


@pytest.fixture(scope="session")
def perfect() -> Callable[[Clip], Judgement]:
    return lambda clip: answer(clip, clip.anomalies[0] if clip.anomalies else None, 5.0 if clip.is_clean else -5.0)


@pytest.fixture(scope="session")
def silent() -> Callable[[Clip], Judgement]:
    """An answer that could not be read: clean, without anything."""
    return lambda clip: Judgement(0.0, "clean", (), (), None, None, False, 8, "", "gibberish")


@pytest.fixture(scope="session")
def make_pairs() -> Callable[[int], list[Clip]]:
    """`count` anomalous clips over all leaves, each followed by its clean twin."""
    leaves = list(LEAVES)

    def build(count: int) -> list[Clip]:
        return [clip_of(i, leaf) for i in range(count) for leaf in (leaves[i % len(leaves)], None)]

    return build


@pytest.fixture(scope="session")
def noisy() -> Callable[[Sequence[Clip], int], tuple[list[Judgement], list[float]]]:
    """Judgements that are right about three times of four, with windows and boxes off by a little, and scores."""

    def build(clips: Sequence[Clip], seed: int) -> tuple[list[Judgement], list[float]]:
        generator = np.random.default_rng(seed)
        judgements, scores = [], []
        for clip in clips:
            right = generator.random() < 0.75
            defect = clip.anomalies[0] if clip.anomalies else clip_of(0, "teleport").anomalies[0]
            flagged = right != clip.is_clean
            margin = float(generator.uniform(0.1, 3)) * (-1 if flagged else 1)
            judgements.append(answer(clip, defect if flagged else None, margin, float(generator.uniform(-0.1, 0.3))))
            scores.append(float(1 / (1 + np.exp(-margin))))
        return judgements, scores

    return build


@pytest.fixture(scope="session")
def render() -> Callable[[Clip], Video]:
    """A square moving over a plain ground; in the anomaly's frames it turns red."""

    def build(clip: Clip) -> Video:
        frames = np.full((clip.frame_count, SIZE, SIZE, 3), (70, 90, 120), dtype=np.uint8)
        for index, frame in enumerate(frames):
            x1, y1, x2, y2 = (round(value * SIZE) for value in square_at(int(clip.pair_id[4:]), index))
            frame[y1:y2, x1:x2] = (220, 40, 40) if clip.boxes_at(index) else (240, 220, 90)
        return Video(frames, clip.fps)

    return build
