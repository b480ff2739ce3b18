"""From annotated clips to the dialogues the supervised stages learn from.

A `SampleSpec` says which dialogue to make, and is cheap to draw; `build_dialogue` makes it, decoding the clip. Every
batch holds the same share of clean samples. A part of the two-turn samples has a wrong scan put into the model's mouth
(a window on a clean clip, at a distractor if one is noted; none, or one that is off the mark, on an anomalous one): its
first turn is not learned from, but its second is, so that the verdict rests on what the second look shows and not on
the fact that a window was chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cac.errors import CacError
from cac.params import Frames, Sft
from cac.schema.annotations import Clip
from cac.schema.dialogue import (
    Finding,
    Look,
    Scan,
    look_content,
    look_prompt,
    look_reply,
    scan_prompt,
    scan_reply,
    spoken_windows,
    tool_reply,
)
from cac.schema.geometry import Window
from cac.schema.taxonomy import LEAVES, family_of
from cac.training.collator import Dialogue, ImageLabel
from cac.video.clip_store import ClipStore
from cac.video.decode import Video
from cac.video.views import View, coarse_view, dense_view, make_view, only_view

SHORTEST_FALSE_WINDOW, LONGEST_FALSE_WINDOW = 0.5, 1.5  # seconds
LARGEST_SLIP = 0.6  # seconds by which either end of a window that is off the mark may be wrong


@dataclass(frozen=True)
class SampleSpec:
    """One sample: a clip, and either one of its frames or a two-turn dialogue.

    Attributes:
        clip: index into the clips.
        frame: the frame of a single-frame sample; None for two turns.
        false_windows: a wrong scan to condition turn 2 on; None for the true one.
    """

    clip: int
    frame: int | None = None
    false_windows: tuple[Window, ...] | None = None


def draw_specs(clips: Sequence[Clip], settings: Sft, seed: int) -> list[SampleSpec]:
    """Draw the samples of a whole stage, in order: steps times batch size times accumulation.

    Every batch is of one kind, single frames or two turns, because a batch must offer the tool to all or none.

    Raises:
        CacError: no clip is of a kind that is to be drawn.
    """
    _require_kinds(clips, settings)
    rng = np.random.default_rng(seed)
    specs: list[SampleSpec] = []
    for _ in range(settings.max_steps * settings.gradient_accumulation_steps):
        single = rng.random() < settings.single_frame_ratio
        draw = _draw_single if single else _draw_two_turn
        anomalous = round(settings.anomalous_ratio * settings.batch_size)
        specs += [draw(rng, clips, i < anomalous, settings) for i in range(settings.batch_size)]
    return specs


def _require_kinds(clips: Sequence[Clip], settings: Sft) -> None:
    anomalous = round(settings.anomalous_ratio * settings.batch_size)
    singles, turns = settings.single_frame_ratio > 0, settings.single_frame_ratio < 1
    kinds = (
        (singles and anomalous > 0, _visible_frames, "anomaly that a single frame shows"),
        (singles and anomalous < settings.batch_size, _clear_frames, "frame without an anomaly"),
        (turns and anomalous > 0, lambda clip: not clip.is_clean, "anomaly"),
        (turns and anomalous < settings.batch_size, lambda clip: clip.is_clean, "clean clip"),
    )
    for drawn, fits, name in kinds:
        if drawn and not any(fits(clip) for clip in clips):
            raise CacError(
                f"the {len(clips)} clips to train on have no {name}, and samples of that kind are to be drawn. Add "
                "such clips, or change anomalous_ratio or single_frame_ratio of the stage."
            )


def _draw_single(rng: np.random.Generator, clips: Sequence[Clip], anomalous: bool, settings: Sft) -> SampleSpec:
    """Draw a frame in which an anomaly can be seen, or a frame without one."""
    if anomalous:
        index = _choose(rng, clips, lambda clip: bool(_visible_frames(clip)))
        return SampleSpec(index, int(rng.choice(_visible_frames(clips[index]))))
    index = _choose(rng, clips, lambda clip: bool(_clear_frames(clip)))
    return SampleSpec(index, int(rng.choice(_clear_frames(clips[index]))))


def _draw_two_turn(rng: np.random.Generator, clips: Sequence[Clip], anomalous: bool, settings: Sft) -> SampleSpec:
    index = _choose(rng, clips, lambda clip: clip.is_clean != anomalous)
    if rng.random() >= settings.wrong_scan_ratio:
        return SampleSpec(index)
    if not anomalous:
        return SampleSpec(index, false_windows=(_false_window(rng, clips[index]),))
    missed = rng.random() < 0.5
    return SampleSpec(
        index, false_windows=() if missed else (_slipped_window(rng, clips[index], clips[index].windows[0]),)
    )


def _choose(rng: np.random.Generator, clips: Sequence[Clip], fits: object) -> int:
    """Draw clips until one fits; one does, or there would be no end."""
    assert callable(fits)
    while True:
        index = int(rng.integers(len(clips)))
        if fits(clips[index]):
            return index


def _visible_frames(clip: Clip) -> list[int]:
    return [box.frame for a in clip.anomalies if LEAVES[a.leaf].visible_in_frame for box in a.boxes]


def _clear_frames(clip: Clip) -> list[int]:
    return [t for t in range(clip.frame_count) if not clip.boxes_at(t)]


def _false_window(rng: np.random.Generator, clip: Clip) -> Window:
    """Return a window of a clean clip: about one of its distractors', or any."""
    if clip.distractors:
        return _slipped_window(rng, clip, clip.distractors[int(rng.integers(len(clip.distractors)))].window)
    length = min(float(rng.uniform(SHORTEST_FALSE_WINDOW, LONGEST_FALSE_WINDOW)), clip.duration)
    start = float(rng.uniform(0, clip.duration - length))
    return (round(start, 1), round(start + length, 1))


def _slipped_window(rng: np.random.Generator, clip: Clip, window: Window) -> Window:
    """Return a window of a clip with both ends moved, at least a tenth of a second long."""
    start, end = window + rng.uniform(-LARGEST_SLIP, LARGEST_SLIP, 2)
    first = float(np.clip(start, 0.0, clip.duration - 0.1))
    return (round(first, 1), round(float(np.clip(end, first + 0.1, clip.duration)), 1))


def build_dialogue(spec: SampleSpec, clips: Sequence[Clip], store: ClipStore, frames: Frames) -> Dialogue:
    """Make the dialogue of a sample, its answers being the truth."""
    clip = clips[spec.clip]
    video = store.video(clip)
    if spec.frame is not None:
        return _one_look_dialogue(clip, make_view(video, [spec.frame], frames.dense_size))
    if frames.looks == 1:
        return _one_look_dialogue(clip, only_view(video, frames))
    return _two_turn_dialogue(clip, video, spec, frames)


def _one_look_dialogue(clip: Clip, view: View) -> Dialogue:
    messages = [*look_prompt(view.images, view.times), look_reply(true_look(clip, view))]
    return Dialogue(messages, has_tool=False, evidence=_evidence(clip, view))


def _two_turn_dialogue(clip: Clip, video: Video, spec: SampleSpec, frames: Frames) -> Dialogue:
    coarse = coarse_view(video, frames)
    scan = true_scan(clip, coarse) if spec.false_windows is None else _false_scan(coarse, spec.false_windows)
    dense = dense_view(video, spoken_windows(scan), frames)
    messages = [
        *scan_prompt(coarse.images, coarse.times),
        scan_reply(scan),
        tool_reply(look_content(dense.images, dense.times)),
        look_reply(true_look(clip, dense)),
    ]
    return Dialogue(
        messages,
        has_tool=True,
        learn_from_turn=0 if spec.false_windows is None else 1,
        evidence=(*_evidence(clip, coarse), *_evidence(clip, dense)),
    )


def _evidence(clip: Clip, view: View) -> tuple[ImageLabel, ...]:
    """Return what each frame of a view shows: its first anomaly's leaf and box, or None."""
    return tuple(next(iter(clip.boxes_at(index)), None) for index in view.indices)


def true_scan(clip: Clip, view: View) -> Scan:
    """Return the right answer of turn 1 for the coarse frames of a clip."""
    odd = tuple((time, bool(clip.boxes_at(i))) for i, time in zip(view.indices, view.times, strict=True))
    return Scan(odd, tuple(clip.windows))


def _false_scan(view: View, windows: tuple[Window, ...]) -> Scan:
    inside = [any(start <= time < end for start, end in windows) for time in view.times]
    return Scan(tuple(zip(view.times, inside, strict=True)), windows)


def true_look(clip: Clip, view: View) -> Look:
    """Return the right answer of turn 2 for the given frames of a clip: anomalous if one of them shows an anomaly."""
    findings, leaves = [], []
    for index, time in zip(view.indices, view.times, strict=True):
        boxes = clip.boxes_at(index)
        findings.append(Finding(time, boxes[0][1] if boxes else None))
        leaves += [leaf for leaf, _ in boxes[:1]]
    leaf = leaves[0] if leaves else None
    family = family_of(leaf) if leaf else None
    return Look(tuple(findings), family, leaf, "anomalous" if leaf else "clean")
