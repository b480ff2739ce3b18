"""Scenes of the generic tasks: ordinary variety, plain changes for a while, and which cell of a frame shows what.

Scenes hold creatures with one to seven legs, signs with any letters, and things that change for a while. Some changes
come at once: another colour, shape, size or place, hidden, more legs, another word. Others come and go step by step: a
body grows and shrinks, turns, a creature folds its legs, something comes in at an edge. Lamps and poor light are there
from the first frame to the last. Both sorts of change are named alike, as what they are: nothing here says which of
them is right or wrong, and none of the leaves that are no plain change (melting, mirrored or garbled text, entering a
wall) is shown or named.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cac.data.sample.defects import shifted_vertically
from cac.data.sample.render import COLOURS, SOLIDS, ActorState, extent, render_frame
from cac.data.sample.scenes import STANDARD, WIDEST, Scene, SceneSettings, random_scene
from cac.schema.geometry import cell_shares

CLIP_SIZE = 96
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SUDDEN = ("recoloured", "reshaped", "resized", "moved", "hidden", "rewritten", "grown")
SLOW = ("nearing", "turning", "folding", "visiting")
CHANGES = (*SUDDEN, *SLOW)
SHORTEST_EVENT, LONGEST_EVENT = 4, 12  # frames
SHORTEST_SLOW, LONGEST_SLOW = 8, 16  # frames from the first step to the last
PLAINLY = 0.3  # how far a slow change must have gone to be named
CELL = 16  # pixels of a frame that one token stands for, in width and height
NOTHING = -100  # the label of a cell that has not what is asked for
MIN_SHARE = 0.15  # of a cell that a thing must cover to be named
SIDEWAYS_SHARE = 0.7  # of the moves, where there is room: harder to see, since most things walk or slide sideways
SHORTEST_SIDESTEP = 0.15  # of the frame's width
DARK_SHARE, DARKEST = 0.3, 0.5  # of the scenes, and how light they still are
LAMP_SHARE = 0.3  # of the scenes
TURNED_SHARE, LYING_SHARE = 0.4, 0.25  # of the solids and of the creatures


@dataclass(frozen=True)
class Event:
    """A plain change of one actor during frames [first, last]: its word, and the actor's index."""

    word: str
    actor: int
    first: int
    last: int

    def at(self, frame: int) -> bool:
        """Whether the change is seen in a frame."""
        return self.first <= frame <= self.last


@dataclass(frozen=True)
class ChangedClip:
    """A scene in which things change for a while, and the same scene as it would have been."""

    usual: Scene
    scene: Scene
    events: tuple[Event, ...] = ()

    def event_at(self, frame: int) -> Event | None:
        """Return the event that is seen in a frame; of several the last."""
        return next((event for event in reversed(self.events) if event.at(frame)), None)


def ordinary_scene(rng: np.random.Generator, frames: int) -> Scene:
    """Draw a scene with ordinary variety in legs, letters, postures and light."""
    kind = str(rng.choice([*SOLIDS, "creature", "creature", "sign", "sign"]))
    scene = random_scene(rng, SceneSettings(CLIP_SIZE, frames, kind))
    scene = replace(scene, actors=tuple(_posed(rng, _vary(rng, actor)) for actor in scene.actors))
    if rng.random() < LAMP_SHARE:
        scene = replace(scene, background=_with_lamp(rng, scene.background))
    if rng.random() < DARK_SHARE:
        scene = replace(scene, light=(round(float(rng.uniform(DARKEST, 1)), 3),) * frames)
    return scene


def plain_scene(rng: np.random.Generator, frames: int) -> Scene:
    """Draw one thing on a plain ground."""
    scene = ordinary_scene(rng, frames)
    plain = np.full_like(scene.background, int(rng.integers(90, 200)))
    return replace(scene, background=plain, wall=None, actors=scene.actors[-1:])


def _posed(rng: np.random.Generator, actor: tuple[ActorState, ...]) -> tuple[ActorState, ...]:
    if actor[0].kind in SOLIDS and rng.random() < TURNED_SHARE:
        turn = round(float(rng.uniform(0, 2 * np.pi)), 3)
        return tuple(replace(state, turn=turn) for state in actor)
    if actor[0].kind == "creature" and rng.random() < LYING_SHARE:
        crouch = round(float(rng.uniform(0.3, 1)), 3)
        return tuple(replace(state, crouch=crouch) for state in actor)
    return actor


def _with_lamp(rng: np.random.Generator, background: np.ndarray) -> np.ndarray:
    """Paint a lamp onto the background, where it is none of the things that are asked for."""
    x, y = (float(value) for value in rng.uniform(0.1, 0.9, 2) * CLIP_SIZE)
    lamp = ActorState("lamp", "", x, y, float(rng.uniform(0.065, 0.09)) * CLIP_SIZE, lit=bool(rng.random() < 0.5))
    return render_frame(background, None, [lamp])


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
        options += [("moved", {})] * 3
    else:
        options.append(("grown", {"limbs": int(rng.choice([n for n in range(1, 8) if n != state.limbs]))}))
    return options[int(rng.integers(len(options)))]


def with_event(rng: np.random.Generator, scene: Scene) -> ChangedClip:
    """Let one actor change for a while, not in the first two frames nor in the last one."""
    index = int(rng.integers(len(scene.actors)))
    length = int(rng.integers(SHORTEST_EVENT, min(LONGEST_EVENT + 1, scene.frame_count - 3)))
    first = int(rng.integers(2, scene.frame_count - length))
    changed, event = _changed(rng, scene, index, first, length)
    return ChangedClip(scene, changed, (event,))


def with_events(rng: np.random.Generator, usual: Scene, share: float, frames: Sequence[int]) -> ChangedClip:
    """Let each actor change with probability `share`, from a time after the first of the shown frames."""
    scene, events = usual, []
    for index in range(len(scene.actors)):
        if rng.random() < share:
            first = int(rng.integers(frames[0] + 1, frames[-1] + 1))
            length = int(rng.integers(SHORTEST_EVENT, LONGEST_EVENT + 1))
            scene, event = _changed(rng, scene, index, first, min(length, scene.frame_count - first))
            events.append(event)
    return ChangedClip(usual, scene, tuple(events))


def with_slow_change(rng: np.random.Generator, scene: Scene) -> ChangedClip:
    """Let something change step by step and back; the event lasts while the change is plain to see."""
    options = [(word, index) for index, actor in enumerate(scene.actors) for word in _slow_words(actor[0])]
    word, index = [*options, ("visiting", len(scene.actors))][int(rng.integers(len(options) + 1))]
    if word == "visiting":
        scene = replace(scene, actors=(*scene.actors, _outside(rng, scene)))
    length = int(rng.integers(SHORTEST_SLOW, min(LONGEST_SLOW, scene.frame_count - 2) + 1))
    start = int(rng.integers(1, scene.frame_count - length))
    swell = [math.sin(math.pi * min(max(t - start + 1, 0) / (length + 1), 1)) ** 2 for t in range(scene.frame_count)]
    change = _slow_change(rng, scene, word, scene.actors[index][0])
    actor = tuple(change(state, share) for state, share in zip(scene.actors[index], swell, strict=True))
    actors = tuple(actor if i == index else other for i, other in enumerate(scene.actors))
    plain = [t for t, share in enumerate(swell) if share >= PLAINLY]
    return ChangedClip(scene, replace(scene, actors=actors), (Event(word, index, plain[0], plain[-1]),))


def _slow_words(state: ActorState) -> tuple[str, ...]:
    if state.kind == "creature":
        return ("folding",)
    if state.kind not in SOLIDS:
        return ()
    return ("nearing",) if state.kind == "ball" else ("nearing", "turning")


def _slow_change(
    rng: np.random.Generator, scene: Scene, word: str, state: ActorState
) -> Callable[[ActorState, float], ActorState]:
    """Draw how far an actor changes; the result takes its usual state and the share of the way that it has gone."""
    if word == "nearing":
        grows = scene.wall is None and rng.random() < 0.6
        most = float(rng.uniform(0.35, 0.7)) if grows else -float(rng.uniform(0.3, 0.5))
        return lambda usual, share: replace(usual, size=usual.size * (1 + most * share))
    if word == "turning":
        angle = float(rng.uniform(0.4, 1.6)) * float(rng.choice([-1, 1]))
        return lambda usual, share: replace(usual, turn=usual.turn + angle * share)
    if word == "folding":
        target = 1.0 if state.crouch < 0.5 else 0.0
        return lambda usual, share: replace(usual, crouch=usual.crouch + (target - usual.crouch) * share)
    way = _way_in(rng, scene, state)
    return lambda usual, share: replace(usual, x=usual.x + way * share, phase=0.08 * way * share)


def _outside(rng: np.random.Generator, scene: Scene) -> tuple[ActorState, ...]:
    """Draw something that stands beyond the left or the right edge."""
    used = {actor[0].colour for actor in scene.actors}
    colour = str(rng.choice([name for name in COLOURS if name not in used]))
    kind, size = str(rng.choice([*SOLIDS, "creature"])), float(rng.uniform(*STANDARD.sizes)) * CLIP_SIZE
    left = bool(rng.random() < 0.5)
    x = -WIDEST * size if left else CLIP_SIZE + WIDEST * size
    y = float(rng.uniform(WIDEST * size, CLIP_SIZE - WIDEST * size))
    return (ActorState(kind, colour, x, y, size, heading=1 if left else -1),) * scene.frame_count


def _way_in(rng: np.random.Generator, scene: Scene, state: ActorState) -> float:
    """Draw how far what stands outside comes in, pixels, to the right if positive: never into the wall."""
    edge = WIDEST * state.size
    room = CLIP_SIZE if scene.wall is None else min(scene.wall.x1, CLIP_SIZE - scene.wall.x2)
    way = float(rng.uniform(min(2 * edge, room), room))
    return way if state.x < 0 else -way


def _changed(rng: np.random.Generator, scene: Scene, index: int, first: int, length: int) -> tuple[Scene, Event]:
    actor = scene.actors[index]
    word, values = _change(rng, scene, actor[0])
    window = actor[first : first + length]
    changed = _moved(rng, scene, window) if word == "moved" else [replace(state, **values) for state in window]
    edited = (*actor[:first], *changed, *actor[first + length :])
    actors = tuple(edited if i == index else other for i, other in enumerate(scene.actors))
    return replace(scene, actors=actors), Event(word, index, first, first + length - 1)


def _moved(rng: np.random.Generator, scene: Scene, states: tuple[ActorState, ...]) -> list[ActorState]:
    steps = _sidesteps(scene, states)
    if steps and rng.random() < SIDEWAYS_SHARE:
        low, high = steps[int(rng.integers(len(steps)))]
        step = float(rng.uniform(low, high))
        return [replace(state, x=round(state.x + step, 2)) for state in states]
    return shifted_vertically(states, float(rng.uniform(0.25, 0.5)) * CLIP_SIZE, CLIP_SIZE)


def _sidesteps(scene: Scene, states: tuple[ActorState, ...]) -> list[tuple[float, float]]:
    """Return by how many pixels a thing can step aside, from and to: inside the frame, and not into the wall."""
    edge = states[0].size * WIDEST
    wall = scene.wall
    sides = [(0.0, CLIP_SIZE)] if wall is None else [(0.0, wall.x1), (wall.x2, float(CLIP_SIZE))]
    leftmost, rightmost = min(state.x for state in states), max(state.x for state in states)
    least = SHORTEST_SIDESTEP * CLIP_SIZE
    steps = []
    for left, right in sides:
        low, high = left + edge - leftmost, right - edge - rightmost
        steps += [(low, min(high, -least)), (max(low, least), high)]
    return [(low, high) for low, high in steps if low < high]


def cell_owners(states: list[ActorState], grid: int) -> np.ndarray:
    """Return for each cell, row by row, the index of the thing that covers most of it, or -1: (grid * grid,)."""
    owner, best = np.full((grid, grid), -1), np.full((grid, grid), MIN_SHARE)
    for index, state in enumerate(states):
        share = cell_shares(extent(state, CLIP_SIZE, CLIP_SIZE), grid, grid)
        owner[share >= best] = index
        best = np.maximum(best, share)
    return owner.ravel()
