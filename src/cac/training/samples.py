"""Training samples of the supervised stages: from annotated clips to dialogues.

A `SampleSpec` names a sample and is cheap to draw; `build_dialogue` decodes the clip and makes the dialogue. Every
batch has the same ratio of anomalous samples. Some two-turn samples have a wrong scan: a window on a clean clip (at a
distractor if one is annotated), or no window or a displaced one on an anomalous clip. Their first turn has no labels,
their second has, so the verdict depends on what the second look shows and not on whether a window was chosen.

Where the source says only when, every frame of the window counts as showing the anomaly: scan, "seen" and "none",
attribution and verdict are taught, but no coordinate. The box in such an answer (`ANYWHERE`) keeps it in the grammar
and has no labels, nor do the image tokens of such a frame.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cac.errors import CacError
from cac.frames import Frames
from cac.params import Sft
from cac.schema.annotations import Clip
from cac.schema.dialogue import (
    ANYWHERE,
    Finding,
    Look,
    Scan,
    Span,
    coordinate_spans,
    look_content,
    look_prompt,
    look_reply,
    scan_prompt,
    scan_reply,
    tool_reply,
    write_look,
    written_windows,
    yes_no_prompt,
    yes_no_reply,
)
from cac.schema.geometry import Window
from cac.schema.taxonomy import LEAVES, family_of
from cac.training.collator import Dialogue
from cac.training.dense_token_loss import ImageLabel
from cac.video.clip_store import ClipStore
from cac.video.decode import AnyVideo
from cac.video.views import View, coarse_view, dense_view, make_view, only_view

MIN_WRONG_WINDOW, MAX_WRONG_WINDOW = 0.5, 1.5  # seconds
MAX_DISPLACEMENT = 0.6  # seconds, of either end of a displaced window
_ROUNDING = 1e-3  # seconds; annotated windows are rounded


@dataclass(frozen=True)
class SampleSpec:
    """One sample: a clip, and either one of its frames or a two-turn dialogue.

    Attributes:
        clip: index into the clips.
        frame: the frame of a single-frame sample; None for two turns.
        wrong_windows: the windows of a wrong scan to condition turn 2 on; None for the true scan.
    """

    clip: int
    frame: int | None = None
    wrong_windows: tuple[Window, ...] | None = None


def draw_specs(clips: Sequence[Clip], settings: Sft, seed: int) -> list[SampleSpec]:
    """Draw the samples of a whole stage, in order: max_steps * gradient_accumulation_steps * batch_size.

    Every batch is of one kind, single frames or two turns, because the dialogues of a batch must agree on the tool.

    Raises:
        CacError: the settings need samples of a kind that no clip has.
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
    for needed, fits, name in kinds:
        if needed and not any(fits(clip) for clip in clips):
            raise CacError(
                f"the {len(clips)} training clips have no {name}, but the settings need such samples. Add such clips, "
                "or change anomalous_ratio or single_frame_ratio of the stage."
            )


def _draw_single(rng: np.random.Generator, clips: Sequence[Clip], anomalous: bool, settings: Sft) -> SampleSpec:
    """Draw a frame with a visible anomaly, or a frame without an anomaly."""
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
        return SampleSpec(index, wrong_windows=(_wrong_window(rng, clips[index]),))
    missed = rng.random() < 0.5 or not clips[index].windows
    return SampleSpec(
        index, wrong_windows=() if missed else (_displaced_window(rng, clips[index], clips[index].windows[0]),)
    )


def _choose(rng: np.random.Generator, clips: Sequence[Clip], fits: Callable[[Clip], bool]) -> int:
    """Draw clips until one fits. `_require_kinds` has checked that one does."""
    while True:
        index = int(rng.integers(len(clips)))
        if fits(clips[index]):
            return index


def _visible_frames(clip: Clip) -> list[int]:
    return [frame for a in clip.anomalies if LEAVES[a.leaf].visible_in_frame for frame in clip.frames_of(a)]


def _clear_frames(clip: Clip) -> list[int]:
    if not clip.has_all_windows:
        return []  # any of them may show the anomaly
    return [t for t in range(clip.frame_count) if not clip.shown_at(t)]


def _wrong_window(rng: np.random.Generator, clip: Clip) -> Window:
    """Return a window of a clean clip: near one of its distractors if it has any, else random."""
    if clip.distractors:
        return _displaced_window(rng, clip, clip.distractors[int(rng.integers(len(clip.distractors)))].window)
    length = min(float(rng.uniform(MIN_WRONG_WINDOW, MAX_WRONG_WINDOW)), clip.duration)
    start = float(rng.uniform(0, clip.duration - length))
    return (round(start, 1), round(start + length, 1))


def _displaced_window(rng: np.random.Generator, clip: Clip, window: Window) -> Window:
    """Return the window with both ends displaced, at least a tenth of a second long."""
    start, end = window + rng.uniform(-MAX_DISPLACEMENT, MAX_DISPLACEMENT, 2)
    first = float(np.clip(start, 0.0, clip.duration - 0.1))
    return (round(first, 1), round(float(np.clip(end, first + 0.1, clip.duration)), 1))


def build_dialogue(spec: SampleSpec, clips: Sequence[Clip], store: ClipStore, frames: Frames) -> Dialogue:
    """Make the dialogue of a sample; the answers are the truth."""
    clip = clips[spec.clip]
    video = store.video(clip)
    if spec.frame is None and frames.looks == 2:
        return _two_turn_dialogue(clip, video, spec, frames)
    view = only_view(video, frames) if spec.frame is None else make_view(video, [spec.frame], frames.dense_size)
    if frames.looks > 0:
        return _one_look_dialogue(clip, view)
    anomalous = not clip.is_clean if spec.frame is None else bool(clip.boxes_at(spec.frame))
    return _yes_no_dialogue(clip, view, anomalous)


def _one_look_dialogue(clip: Clip, view: View) -> Dialogue:
    look = true_look(clip, view)
    return Dialogue(
        [*look_prompt(view.images, view.times), look_reply(look)],
        has_tool=False,
        image_labels=_image_labels(clip, view),
        unlabelled=unknown_coordinates(write_look(look), clip, view.indices),
    )


def _yes_no_dialogue(clip: Clip, view: View, anomalous: bool) -> Dialogue:
    messages = [*yes_no_prompt(view.images, view.times), yes_no_reply("anomalous" if anomalous else "clean")]
    return Dialogue(messages, has_tool=False, image_labels=_image_labels(clip, view))


def _two_turn_dialogue(clip: Clip, video: AnyVideo, spec: SampleSpec, frames: Frames) -> Dialogue:
    coarse = coarse_view(video, frames)
    scan = true_scan(clip, coarse) if spec.wrong_windows is None else _wrong_scan(coarse, spec.wrong_windows)
    dense = dense_view(video, written_windows(scan), frames)
    look = true_look(clip, dense)
    messages = [
        *scan_prompt(coarse.images, coarse.times),
        scan_reply(scan),
        tool_reply(look_content(dense.images, dense.times)),
        look_reply(look),
    ]
    return Dialogue(
        messages,
        has_tool=True,
        learn_from_turn=0 if spec.wrong_windows is None else 1,
        image_labels=(*_image_labels(clip, coarse), *_image_labels(clip, dense)),
        unlabelled=unknown_coordinates(write_look(look), clip, dense.indices),
    )


def _image_labels(clip: Clip, view: View) -> tuple[ImageLabel, ...]:
    """Return the leaf and box of the first anomaly in each frame of a view, or None."""
    return tuple(next(iter(clip.shown_at(index)), None) for index in view.indices)


def unknown_coordinates(look_text: str, clip: Clip, indices: Sequence[int]) -> tuple[Span, ...]:
    """Return where an answer about these frames gives coordinates that the annotation cannot confirm or deny.

    If an anomaly of the clip has no boxes, these are all that are not of a frame with a true box.
    """
    if all(anomaly.boxes for anomaly in clip.anomalies):
        return ()
    lines = zip(coordinate_spans(look_text)[:-1], indices, strict=True)  # the last line is the attribution
    return tuple(span for span, index in lines if span and not clip.boxes_at(index))


def true_scan(clip: Clip, view: View) -> Scan:
    """Return the correct scan for the coarse frames of a clip: windows that one of them lies in.

    To ask for a window that no frame shows would teach guessing.
    """
    odd = tuple((time, bool(clip.shown_at(i))) for i, time in zip(view.indices, view.times, strict=True))
    shown = [window for window in clip.windows if any(_lies_in(time, window) for time in view.times)]
    return Scan(odd, tuple(shown))


def _lies_in(time: float, window: Window) -> bool:
    return window[0] - _ROUNDING <= time < window[1] - _ROUNDING


def _wrong_scan(view: View, windows: tuple[Window, ...]) -> Scan:
    inside = [any(start <= time < end for start, end in windows) for time in view.times]
    return Scan(tuple(zip(view.times, inside, strict=True)), windows)


def true_look(clip: Clip, view: View) -> Look:
    """Return the correct look for frames of a clip: anomalous if one of them shows an anomaly.

    A frame that shows one without a box gets the box `ANYWHERE`.
    """
    findings, leaves = [], []
    for index, time in zip(view.indices, view.times, strict=True):
        shown = clip.shown_at(index)[:1]
        findings.append(Finding(time, next((box or ANYWHERE for _, box in shown), None)))
        leaves += [leaf for leaf, _ in shown]
    leaf = leaves[0] if leaves else None
    family = family_of(leaf) if leaf else None
    return Look(tuple(findings), family, leaf, "anomalous" if leaf else "clean")
