"""Generic tasks about procedural scenes, for pretraining the nano base. Nothing here says what is right or wrong.

Scenes hold ordinary variety: creatures with one to seven legs, signs with any letters, objects that change colour,
shape, size or place, hide, or show another word. The tasks ask what is where and when. No anomaly label, no verdict,
and none of the leaves that are no plain change (melting, mirrored or garbled text, entering a wall) is shown or named.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from cac.data.defects import shifted_vertically
from cac.data.render import COLOURS, SOLIDS, ActorState, extent
from cac.data.scenes import Scene, SceneSettings, random_scene
from cac.dialogue import COORDINATE_SCALE, Scan, format_time, frame_blocks, scan_reply, tool_reply
from cac.model.nano import ANSWER_WORDS, GENERIC_WORDS
from cac.training.collator import Dialogue
from cac.video import dense_indices, spread_indices

FPS = 8
CLIP_SIZE = 96
SIZES = (64, 80, 96)
COARSE_COUNT, DENSE_COUNT = 8, 6
COARSE_SIZE, DENSE_SIZE = 64, 96
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


CHANGES = ("recoloured", "reshaped", "resized", "moved", "hidden", "rewritten", "grown")
CELL = 16  # pixels of a frame that one token stands for, in width and height
NOTHING = -100  # the label of a cell that has not what is asked for
MIN_SHARE = 0.15  # of a cell that a thing must cover to be named


@dataclass(frozen=True)
class LabelledDialogue(Dialogue):
    """A dialogue with a label for every image token: 0 where a thing is as it was, else 1 + what has changed on it."""

    cells: np.ndarray | None = None


@dataclass(frozen=True)
class Event:
    """A plain change of one actor during frames [first, last]: its word, and the actor's index."""

    word: str
    actor: int
    first: int
    last: int


def ordinary_scene(rng: np.random.Generator, frames: int) -> Scene:
    """Draw a scene with ordinary variety in legs and letters."""
    kind = str(rng.choice([*SOLIDS, "creature", "creature", "sign", "sign"]))
    scene = random_scene(rng, SceneSettings(CLIP_SIZE, frames, kind))
    return replace(scene, actors=tuple(_vary(rng, actor) for actor in scene.actors))


def plain_scene(rng: np.random.Generator, frames: int) -> Scene:
    """Draw one thing on a plain ground."""
    scene = ordinary_scene(rng, frames)
    plain = np.full_like(scene.background, int(rng.integers(90, 200)))
    return replace(scene, background=plain, wall=None, actors=scene.actors[-1:])


def _vary(rng: np.random.Generator, actor: tuple[ActorState, ...]) -> tuple[ActorState, ...]:
    if actor[0].kind == "creature" and rng.random() < 0.6:
        limbs = int(rng.integers(1, 8))
        return tuple(replace(state, limbs=limbs) for state in actor)
    if actor[0].kind == "sign" and rng.random() < 0.6:
        word = "".join(rng.choice(list(LETTERS), 3))
        return tuple(replace(state, word=word) for state in actor)
    return actor


def _change(rng: np.random.Generator, scene: Scene, state: ActorState) -> tuple[str, dict[str, Any]]:
    """Draw what changes on an actor: the word for it and the new values."""
    if state.kind == "sign":
        return "rewritten", {"word": "".join(rng.choice(list(LETTERS), 3))}
    used = {actor[0].colour for actor in scene.actors}
    options: list[tuple[str, dict[str, Any]]] = [
        ("recoloured", {"colour": str(rng.choice([c for c in COLOURS if c not in used]))}),
        ("hidden", {"visible": False}),
        ("resized", {"size": state.size * float(rng.choice([0.5, 0.6, 1.45, 1.7]))}),
    ]
    if state.kind in SOLIDS:
        options.append(("reshaped", {"kind": str(rng.choice([k for k in SOLIDS if k != state.kind]))}))
        options.append(("moved", {}))
        options.append(("moved", {}))
    else:
        options.append(("grown", {"limbs": int(rng.choice([n for n in range(1, 8) if n != state.limbs]))}))
    return options[int(rng.integers(len(options)))]


def add_event(rng: np.random.Generator, scene: Scene) -> tuple[Scene, Event]:
    """Let one actor change for a while."""
    index = int(rng.integers(len(scene.actors)))
    actor = scene.actors[index]
    length = int(rng.integers(4, min(13, scene.frame_count - 3)))
    first = int(rng.integers(2, scene.frame_count - length))
    word, values = _change(rng, scene, actor[0])
    window = actor[first : first + length]
    if word == "moved":
        changed = shifted_vertically(window, float(rng.uniform(0.25, 0.5)) * CLIP_SIZE, CLIP_SIZE)
    else:
        changed = [replace(state, **values) for state in window]
    edited = (*actor[:first], *changed, *actor[first + length :])
    actors = tuple(edited if i == index else other for i, other in enumerate(scene.actors))
    return replace(scene, actors=actors), Event(word, index, first, first + length - 1)


def _images(scene: Scene, frames: list[int], size: int) -> list[Image.Image]:
    return [Image.fromarray(frame).resize((size, size), Image.Resampling.BILINEAR) for frame in scene.render(frames)]


def _numbers(state: ActorState) -> str:
    box = extent(state, CLIP_SIZE, CLIP_SIZE)
    return " ".join(str(round(value * COORDINATE_SCALE)) for value in box)


def _name(state: ActorState) -> str:
    return f"{state.colour} {state.kind}"


def _ask(blocks: list[dict[str, Any]], question: str, answer: str, cells: np.ndarray | None = None) -> Dialogue:
    user = {"role": "user", "content": [*blocks, {"type": "text", "text": question}]}
    messages = [user, {"role": "assistant", "content": [{"type": "text", "text": answer}]}]
    return LabelledDialogue(messages, has_tool=False, cells=cells)


def change_cells(scene: Scene, event: Event | None, frames: list[int], size: int) -> np.ndarray:
    """Label each token of the given frames: how the thing that covers most of its cell differs from before."""
    grid = size // CELL
    return np.concatenate([_frame_cells(scene, event, t, grid) for t in frames])


def _frame_cells(scene: Scene, event: Event | None, t: int, grid: int) -> np.ndarray:
    owner = cell_owners([actor[t] for actor in scene.actors], grid)
    labels = np.where(owner < 0, NOTHING, 0)
    if event is not None and event.first <= t <= event.last:
        labels[owner == event.actor] = 1 + CHANGES.index(event.word)
    return labels


def cell_owners(states: list[ActorState], grid: int) -> np.ndarray:
    """Return for each cell, row by row, the index of the thing that covers most of it, or -1: (grid * grid,)."""
    owner, best = np.full((grid, grid), -1), np.full((grid, grid), MIN_SHARE)
    for index, state in enumerate(states):
        share = covered_share(extent(state, CLIP_SIZE, CLIP_SIZE), grid)
        owner[share >= best] = index
        best = np.maximum(best, share)
    return owner.ravel()


def covered_share(box: tuple[float, ...], grid: int) -> np.ndarray:
    """Return which share of each of grid x grid cells a box in [0, 1] covers: (grid, grid)."""
    edges = np.arange(grid + 1) / grid
    wide = np.clip(np.minimum(box[2], edges[1:]) - np.maximum(box[0], edges[:-1]), 0, None) * grid
    high = np.clip(np.minimum(box[3], edges[1:]) - np.maximum(box[1], edges[:-1]), 0, None) * grid
    return high[:, None] * wide[None, :]


def easy_frame(rng: np.random.Generator) -> Dialogue:
    """One frame of one thing on a plain ground: where looking begins; without it nothing is learned for long."""
    return _ask_single(rng, plain_scene(rng, 1), _list_all)


def single_frame(rng: np.random.Generator) -> Dialogue:
    """One frame: list everything, find one thing, read the word, count legs, or repeat words."""
    tasks = [_list_all, _list_all, _list_all, _find_one, _find_one, _read_or_count, _read_or_count, _repeat]
    return _ask_single(rng, ordinary_scene(rng, 1), tasks[int(rng.integers(len(tasks)))])


def _ask_single(rng: np.random.Generator, scene: Scene, task: Callable[..., tuple[str, str]]) -> Dialogue:
    size = int(rng.choice(SIZES))
    states = [actor[0] for actor in scene.actors]
    time = float(rng.integers(0, 40)) / 10
    blocks = frame_blocks(_images(scene, [0], size), [time])
    question, answer = task(rng, states)
    return _ask(blocks, question, answer)


def _list_all(rng: np.random.Generator, states: list[ActorState]) -> tuple[str, str]:
    ordered = sorted(states, key=lambda state: state.x)
    return "list all", "\n".join(f"{_name(state)} {_numbers(state)}" for state in ordered)


def _find_one(rng: np.random.Generator, states: list[ActorState]) -> tuple[str, str]:
    state = states[int(rng.integers(len(states)))]
    if rng.random() < 0.2:
        absent = [c for c in COLOURS if c not in {s.colour for s in states}]
        return f"find the {rng.choice(absent)} {state.kind}", "none"
    return f"find the {_name(state)}", f"seen {_numbers(state)}"


def _read_or_count(rng: np.random.Generator, states: list[ActorState]) -> tuple[str, str]:
    """Ask for the letters of each sign and the legs of each creature."""
    lines = []
    for state in sorted(states, key=lambda state: state.x):
        if state.kind == "sign":
            lines.append(f"word {_numbers(state)}" + "".join(f" {char}" for char in state.word))
        elif state.kind == "creature":
            lines.append(f"legs {_numbers(state)} {state.limbs}")
    return "read word count legs", "\n".join(lines) or "none"


def _repeat(rng: np.random.Generator, states: list[ActorState]) -> tuple[str, str]:
    """Ask to repeat words drawn from the whole vocabulary, so that every token has a trained embedding."""
    words = " ".join(str(word) for word in rng.choice([*GENERIC_WORDS, *ANSWER_WORDS], 5))
    return f"read {words}", words


def multi_frame(rng: np.random.Generator) -> Dialogue:
    """Frames of a clip: track one thing through them, or say of each frame what has changed."""
    scene = ordinary_scene(rng, int(rng.integers(16, 33)))
    dense = rng.random() < 0.3
    count, size = (DENSE_COUNT, DENSE_SIZE) if dense else (COARSE_COUNT, COARSE_SIZE)
    event = None
    if rng.random() < 0.8:
        scene, event = add_event(rng, scene)
    frames = spread_indices(scene.frame_count, count, float(rng.choice([0.0, 0.5])))
    blocks = frame_blocks(_images(scene, frames, size), [t / FPS for t in frames])
    cells = change_cells(scene, event, frames, size)
    if rng.random() < 0.3:
        index = int(rng.integers(len(scene.actors))) if event is None or rng.random() < 0.5 else event.actor
        return _ask(blocks, f"track the {_name(scene.actors[index][0])}", _track(scene, index, frames), cells)
    return _ask(blocks, "what changes", _changes(scene, event, frames), cells)


def _track(scene: Scene, index: int, frames: list[int]) -> str:
    lines = []
    for t in frames:
        state = scene.actors[index][t]
        found = f"{_name(state)} {_numbers(state)}" if state.visible else "none"
        lines.append(f"{format_time(t / FPS)} {found}")
    return "\n".join(lines)


def _changes(scene: Scene, event: Event | None, frames: list[int]) -> str:
    """Say of each frame what differs from most of the clip; then in one word what it was."""
    lines = []
    for t in frames:
        now = event is not None and event.first <= t <= event.last
        lines.append(
            f"{format_time(t / FPS)} "
            + (f"{event.word} {_numbers(scene.actors[event.actor][t])}" if now and event else "none")
        )
    seen = event is not None and any(event.first <= t <= event.last for t in frames)
    lines.append(f"changed {event.word}" if seen and event else "changed none")
    return "\n".join(lines)


def two_turn(rng: np.random.Generator) -> Dialogue:
    """Scan coarsely, call `concentrate` on the windows in question, then answer from the dense frames."""
    scene = ordinary_scene(rng, int(rng.integers(16, 33)))
    if rng.random() < 0.75:
        return _search_change(rng, scene)
    return _search_side(rng, scene)


def _search_change(rng: np.random.Generator, scene: Scene) -> Dialogue:
    event = None
    if rng.random() < 0.7:
        scene, event = add_event(rng, scene)
    happens = [event is not None and event.first <= t <= event.last for t in range(scene.frame_count)]
    questions = ("what changes then when", "what changes")
    return _two_turns((scene, event), questions, happens, lambda f: _changes(scene, event, f))


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

    return _two_turns((scene, None), (question, question), happens, answer)


_SIDES: tuple[tuple[str, Callable[[ActorState], bool]], ...] = (
    ("left", lambda state: state.x < CLIP_SIZE / 2),
    ("right", lambda state: state.x >= CLIP_SIZE / 2),
    ("high", lambda state: state.y < CLIP_SIZE / 2),
    ("low", lambda state: state.y >= CLIP_SIZE / 2),
)


def _two_turns(
    clip: tuple[Scene, Event | None],
    questions: tuple[str, str],
    happens: list[bool],
    answer: Callable[[list[int]], str],
) -> Dialogue:
    """Assemble a two-turn dialogue from which frames are in question and the answer to the dense frames."""
    scene, event = clip
    coarse = spread_indices(scene.frame_count, COARSE_COUNT)
    first = frame_blocks(_images(scene, coarse, COARSE_SIZE), [t / FPS for t in coarse])
    windows = _runs(happens)
    dense = dense_indices(windows, scene.frame_count, FPS, DENSE_COUNT)
    second = frame_blocks(_images(scene, dense, DENSE_SIZE), [t / FPS for t in dense])
    reply = scan_reply(Scan(tuple((t / FPS, happens[t]) for t in coarse), tuple(windows)))
    looks = ((coarse, COARSE_SIZE), (dense, DENSE_SIZE))
    return LabelledDialogue(
        [
            {"role": "user", "content": [*first, {"type": "text", "text": questions[0]}]},
            reply,
            tool_reply([*second, {"type": "text", "text": questions[1]}]),
            {"role": "assistant", "content": [{"type": "text", "text": answer(dense)}]},
        ],
        has_tool=True,
        cells=np.concatenate([change_cells(scene, event, frames, size) for frames, size in looks]),
    )


def _runs(happens: list[bool]) -> list[tuple[float, float]]:
    """Return the runs of true frames as windows in seconds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(happens, dtype=int), [0]])))
    return [(float(start) / FPS, float(end) / FPS) for start, end in edges.reshape(-1, 2)]
