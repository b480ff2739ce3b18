"""Generic tasks about procedural scenes, for pretraining the nano base: what is where, when, and what changes.

The scenes and changes are those of `generic_scenes.py`: no anomaly label, no verdict.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from cac.data.sample.render import COLOURS, ActorState, extent
from cac.data.sample.scenes import Scene
from cac.model.nano import ANSWER_WORDS, GENERIC_WORDS
from cac.schema.dialogue import COORDINATE_SCALE, Scan, format_time, frame_blocks, scan_reply, tool_reply
from cac.schema.geometry import Window
from cac.training.collator import Dialogue
from cac.video.sampling import dense_indices, even_times, spread_indices
from scripts.dense_clips import ClipLabels, joined, label_clip
from scripts.generic_scenes import (
    CLIP_SIZE,
    SLOW,
    ChangedClip,
    ordinary_scene,
    plain_scene,
    with_event,
    with_events,
    with_slow_change,
)

FPS = 8
SIZES = (64, 80, 96)
COARSE_COUNT, DENSE_COUNT = 8, 6
COARSE_SIZE, DENSE_SIZE = 64, 96
EVENT_SHARE = 0.4  # of the actors of a clip to compare
SLOW_SHARE = 0.4  # of the clips with one change in which it comes step by step
# What a slow change is called: "then", for one step after the other, and the word of the sudden change most like it.
SLOW_NAMES = {"nearing": "then resized", "turning": "then reshaped", "folding": "then grown", "visiting": "then moved"}
WRONG_SCAN_SHARE = 0.35
WALL_SHARE = 0.3  # of the scenes with a wall in which it is what is to be found


@dataclass(frozen=True)
class LabelledDialogue(Dialogue):
    """A dialogue with labels for the tokens of its frames; None for a single frame."""

    labels: ClipLabels | None = None


def _images(scene: Scene, frames: list[int], size: int) -> list[Image.Image]:
    return [Image.fromarray(frame).resize((size, size), Image.Resampling.BILINEAR) for frame in scene.render(frames)]


def _numbers(state: ActorState) -> str:
    box = extent(state, CLIP_SIZE, CLIP_SIZE)
    return " ".join(str(round(value * COORDINATE_SCALE)) for value in box)


def _name(state: ActorState) -> str:
    return f"{state.colour} {state.kind}"


def _ask(
    blocks: list[dict[str, Any]], question: str, answer: str, labels: ClipLabels | None = None
) -> LabelledDialogue:
    user = {"role": "user", "content": [*blocks, {"type": "text", "text": question}]}
    messages = [user, {"role": "assistant", "content": [{"type": "text", "text": answer}]}]
    return LabelledDialogue(messages, has_tool=False, labels=labels)


def easy_frame(rng: np.random.Generator) -> Dialogue:
    """One frame of one thing on a plain ground: where looking begins; without it nothing is learned for long."""
    return _ask_single(rng, plain_scene(rng, 1), _list_all)


def list_frame(rng: np.random.Generator) -> Dialogue:
    """One frame: list everything."""
    return _ask_single(rng, ordinary_scene(rng, 1), _list_all)


def single_frame(rng: np.random.Generator) -> Dialogue:
    """One frame: list everything, find one thing, read the word, count legs, or repeat words."""
    tasks = [_list_all, _list_all, _list_all, _find_one, _find_one, _read_or_count, _read_or_count, _repeat]
    return _ask_single(rng, ordinary_scene(rng, 1), tasks[int(rng.integers(len(tasks)))])


def _ask_single(rng: np.random.Generator, scene: Scene, task: Callable[..., tuple[str, str]]) -> Dialogue:
    size = int(rng.choice(SIZES))
    time = float(rng.integers(0, 40)) / 10
    blocks = frame_blocks(_images(scene, [0], size), [time])
    question, answer = task(rng, scene)
    return _ask(blocks, question, answer)


def _list_all(rng: np.random.Generator, scene: Scene) -> tuple[str, str]:
    ordered = sorted(_states(scene), key=lambda state: state.x)
    return "list all", "\n".join(f"{_name(state)} {_numbers(state)}" for state in ordered)


def _states(scene: Scene) -> list[ActorState]:
    return [actor[0] for actor in scene.actors]


def _find_one(rng: np.random.Generator, scene: Scene) -> tuple[str, str]:
    if scene.wall is not None and rng.random() < WALL_SHARE:
        left, right = (round(x / CLIP_SIZE * COORDINATE_SCALE) for x in (scene.wall.x1, scene.wall.x2))
        return "find the wall", f"seen {left} 0 {right} {COORDINATE_SCALE}"
    states = _states(scene)
    state = states[int(rng.integers(len(states)))]
    if rng.random() < 0.2:
        absent = [c for c in COLOURS if c not in {s.colour for s in states}]
        return f"find the {rng.choice(absent)} {state.kind}", "none"
    return f"find the {_name(state)}", f"seen {_numbers(state)}"


def _read_or_count(rng: np.random.Generator, scene: Scene) -> tuple[str, str]:
    """Ask for the letters of each sign and the legs of each creature."""
    lines = []
    for state in sorted(_states(scene), key=lambda state: state.x):
        if state.kind == "sign":
            lines.append(f"word {_numbers(state)}" + "".join(f" {char}" for char in state.word))
        elif state.kind == "creature":
            lines.append(f"legs {_numbers(state)} {state.limbs}")
    return "read word count legs", "\n".join(lines) or "none"


def _repeat(rng: np.random.Generator, scene: Scene) -> tuple[str, str]:
    """Ask to repeat words drawn from the whole vocabulary, so that every token has a trained embedding."""
    words = " ".join(str(word) for word in rng.choice([*GENERIC_WORDS, *ANSWER_WORDS], 5))
    return f"read {words}", words


def compare(rng: np.random.Generator, count: int, plain_share: float) -> Dialogue:
    """Flag which of `count` neighbouring frames of a coarse look show a change; any number of things may change."""
    frame_count = int(rng.integers(16, 33))
    usual = plain_scene(rng, frame_count) if rng.random() < plain_share else ordinary_scene(rng, frame_count)
    spread = spread_indices(frame_count, COARSE_COUNT, float(rng.choice([0.0, 0.5])))
    begin = int(rng.integers(COARSE_COUNT - count + 1))
    frames = spread[begin : begin + count]
    clip = with_events(rng, usual, EVENT_SHARE, frames)
    return ask_flags(clip, frames, COARSE_SIZE)


def ask_flags(clip: ChangedClip, frames: list[int], size: int) -> LabelledDialogue:
    """Ask of each frame whether something in it has changed: "odd" or "clear"."""
    times = [t / FPS for t in frames]
    flags = [f"{format_time(t / FPS)} {'odd' if clip.event_at(t) else 'clear'}" for t in frames]
    blocks = frame_blocks(_images(clip.scene, frames, size), times)
    return _ask(blocks, "what changes then when", "\n".join(flags), label_clip(clip, frames, size))


def multi_frame(rng: np.random.Generator) -> Dialogue:
    """Frames of a clip: track one thing through them, or say of each frame what has changed."""
    clip = _maybe_changed(rng, 0.8)
    dense = rng.random() < 0.3
    count, size = (DENSE_COUNT, DENSE_SIZE) if dense else (COARSE_COUNT, COARSE_SIZE)
    frames = spread_indices(clip.scene.frame_count, count, float(rng.choice([0.0, 0.5])))
    blocks = frame_blocks(_images(clip.scene, frames, size), [t / FPS for t in frames])
    labels = label_clip(clip, frames, size)
    if rng.random() < 0.3:
        index = int(rng.integers(len(clip.scene.actors)))
        name = _name(clip.usual.actors[index][0])
        return _ask(blocks, f"track the {name}", _track(clip.scene, index, frames), labels)
    return _ask(blocks, "what changes", _changes(clip, frames), labels)


def _maybe_changed(rng: np.random.Generator, share: float) -> ChangedClip:
    scene = ordinary_scene(rng, int(rng.integers(16, 33)))
    if rng.random() >= share:
        return ChangedClip(scene, scene)
    return with_slow_change(rng, scene) if rng.random() < SLOW_SHARE else with_event(rng, scene)


def _track(scene: Scene, index: int, frames: list[int]) -> str:
    lines = []
    for t in frames:
        state = scene.actors[index][t]
        x1, _, x2, _ = extent(state, CLIP_SIZE, CLIP_SIZE)
        found = f"{_name(state)} {_numbers(state)}" if state.visible and x1 < x2 else "none"
        lines.append(f"{format_time(t / FPS)} {found}")
    return "\n".join(lines)


def _changes(clip: ChangedClip, frames: list[int]) -> str:
    """Say of each frame where something differs from most of the clip; then in one line what it was, and if it was."""
    lines, word = [], "none"
    for t in frames:
        event = clip.event_at(t)
        found = "none"
        if event is not None:
            word = SLOW_NAMES.get(event.word, event.word)
            found = f"seen {_numbers(clip.scene.actors[event.actor][t])}"
        lines.append(f"{format_time(t / FPS)} {found}")
    return "\n".join([*lines, f"changed {word} seen {'no' if word == 'none' else 'yes'}"])


def two_turn(rng: np.random.Generator) -> Dialogue:
    """Scan coarsely, call `concentrate` on the windows in question, then answer from the dense frames."""
    if rng.random() < 0.8:
        return _search_change(rng, _maybe_changed(rng, 0.7))
    return _search_side(rng, ordinary_scene(rng, int(rng.integers(16, 33))))


def _search_change(rng: np.random.Generator, clip: ChangedClip) -> Dialogue:
    happens = [clip.event_at(t) is not None for t in range(clip.scene.frame_count)]
    questions = ("what changes then when", "what changes")
    wrong = _random_windows(rng, clip.scene.frame_count) if rng.random() < WRONG_SCAN_SHARE else None
    if any(event.word in SLOW for event in clip.events):
        wrong = wrong or _runs(happens)  # where a slow change begins is a matter of taste: the scan is context only
    return _two_turns(clip, questions, (happens, wrong), lambda frames: _changes(clip, frames))


def _random_windows(rng: np.random.Generator, frame_count: int) -> list[Window]:
    """Return a window that has nothing to do with what happens, or none."""
    if rng.random() < 0.3:
        return []
    length = int(rng.integers(4, 13))
    start = int(rng.integers(frame_count - length + 1))
    return [(start / FPS, (start + length) / FPS)]


def _search_side(rng: np.random.Generator, scene: Scene) -> Dialogue:
    """Ask when one thing is in the upper, lower, left or right half."""
    index = int(rng.integers(len(scene.actors)))
    actor = scene.actors[index]
    side, test = _SIDES[int(rng.integers(len(_SIDES)))]
    happens = [test(state) for state in actor]
    question = f"when is the {_name(actor[0])} {side}"

    def answer(frames: list[int]) -> str:
        lines = [f"{format_time(t / FPS)} " + (f"seen {_numbers(actor[t])}" if happens[t] else "not") for t in frames]
        return "\n".join([*lines, "seen yes" if any(happens[t] for t in frames) else "seen no"])

    return _two_turns(ChangedClip(scene, scene), (question, question), (happens, None), answer)


_SIDES: tuple[tuple[str, Callable[[ActorState], bool]], ...] = (
    ("left", lambda state: state.x < CLIP_SIZE / 2),
    ("right", lambda state: state.x >= CLIP_SIZE / 2),
    ("high", lambda state: state.y < CLIP_SIZE / 2),
    ("low", lambda state: state.y >= CLIP_SIZE / 2),
)


def _two_turns(
    clip: ChangedClip,
    questions: tuple[str, str],
    scan: tuple[list[bool], list[Window] | None],
    answer: Callable[[list[int]], str],
) -> Dialogue:
    """Assemble a two-turn dialogue from which frames are in question and the answer to the dense frames.

    With wrong windows put in the place of the right ones only the second turn is learned from.
    """
    happens, wrong = scan
    scene = clip.scene
    windows = _runs(happens) if wrong is None else wrong
    coarse = spread_indices(scene.frame_count, COARSE_COUNT)
    dense = dense_indices(windows, even_times(scene.frame_count, FPS), scene.frame_count / FPS, DENSE_COUNT)
    first = frame_blocks(_images(scene, coarse, COARSE_SIZE), [t / FPS for t in coarse])
    second = frame_blocks(_images(scene, dense, DENSE_SIZE), [t / FPS for t in dense])
    flags = [happens[t] if wrong is None else any(a <= t / FPS < b for a, b in wrong) for t in coarse]
    times = [t / FPS for t in coarse]
    return LabelledDialogue(
        [
            {"role": "user", "content": [*first, {"type": "text", "text": questions[0]}]},
            scan_reply(Scan(tuple(zip(times, flags, strict=True)), tuple(windows))),
            tool_reply([*second, {"type": "text", "text": questions[1]}]),
            {"role": "assistant", "content": [{"type": "text", "text": answer(dense)}]},
        ],
        has_tool=True,
        learn_from_turn=0 if wrong is None else 1,
        labels=joined([label_clip(clip, coarse, COARSE_SIZE), label_clip(clip, dense, DENSE_SIZE)]),
    )


def _runs(happens: list[bool]) -> list[tuple[float, float]]:
    """Return the runs of true frames as windows in seconds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(happens, dtype=int), [0]])))
    return [(float(start) / FPS, float(end) / FPS) for start, end in edges.reshape(-1, 2)]
