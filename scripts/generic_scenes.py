"""Scenes of the generic tasks: ordinary variety, plain changes for a while, and which cell of a frame shows what.

Scenes hold creatures with one to seven legs, signs with any letters, and things that change colour, shape, size or
place, hide, grow legs or show another word. Bodies may be turned, creatures may lie, lamps hang about and the light may
be poor, all of it from the first frame to the last: what of that comes and goes is for the stages to learn. Nothing
here says what is right or wrong, and none of the leaves that are no plain change (melting, mirrored or garbled text,
entering a wall) is shown or named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cac.data.defects import shifted_vertically
from cac.data.render import COLOURS, SOLIDS, ActorState, extent, render_frame
from cac.data.scenes import WIDEST, Scene, SceneSettings, random_scene
from cac.geometry import cell_shares

CLIP_SIZE = 96
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CHANGES = ("recoloured", "reshaped", "resized", "moved", "hidden", "rewritten", "grown")
SHORTEST_EVENT, LONGEST_EVENT = 4, 12  # frames
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
