"""Distractors: harmless changes in a procedural scene that must not be flagged.

If every change were an anomaly, detecting changes would be enough to judge a video. Each distractor resembles an
anomaly: a lamp that lights up or a cloud's shadow resembles a colour swap, a visitor something that vanishes, a body
that comes nearer a jump in size, one that turns a change of shape, a creature that lies down one without legs, a board
that shows another word a garbled one. They are the same in both twins and never change the anomalous actor. Out of
scope: anomalies (`defects.py`) and how often there is a distractor (`build.py`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cac.data.sample.glyphs import WORDS
from cac.data.sample.render import COLOURS, SHIFTED_SOLIDS, SOLIDS, ActorState
from cac.data.sample.scenes import WIDEST, Scene, SceneSettings

SHORTEST, LONGEST = 4, 12  # frames
SHORTEST_GRADUAL, LONGEST_GRADUAL = 8, 16
_TURNING = {"box": 4, "triangle": 3, "star": 5, "diamond": 4, "cross": 4}  # solids by the turns that look like none
_SOLIDS = (*SOLIDS, *SHIFTED_SOLIDS)


@dataclass(frozen=True)
class Happening:
    """A scene with a distractor.

    Attributes:
        scene: the scene.
        subject: the new index of the actor that was not changed.
        name: one of `DISTRACTORS`.
        first: the first frame of it.
        last: the last one.
    """

    scene: Scene
    subject: int
    name: str
    first: int
    last: int


@dataclass(frozen=True)
class _Change:
    """The input of a distractor: frames [first, last] of a scene whose actor `subject` must not change."""

    rng: np.random.Generator
    scene: Scene
    settings: SceneSettings
    subject: int
    first: int
    last: int

    def among(self, kinds: tuple[str, ...]) -> list[int]:
        """Return the actors of these kinds that may change."""
        return [i for i, actor in enumerate(self.scene.actors) if i != self.subject and actor[0].kind in kinds]

    def swell(self, frame: int) -> float:
        """Return how far a gradual change has gone in a frame: from 0 to 1 in the middle and back, without a jump."""
        if not self.first <= frame <= self.last:
            return 0.0
        return round(math.sin(math.pi * (frame - self.first + 1) / (self.last - self.first + 2)) ** 2, 4)

    def changed(self, index: int, change: Callable[[ActorState, int], ActorState]) -> Scene:
        """Return the scene with the states of one actor changed in the frames of the distractor."""
        actor = tuple(
            change(state, t) if self.first <= t <= self.last else state
            for t, state in enumerate(self.scene.actors[index])
        )
        return replace(self.scene, actors=tuple(actor if i == index else a for i, a in enumerate(self.scene.actors)))


def with_distractor(rng: np.random.Generator, scene: Scene, settings: SceneSettings, subject: int) -> Happening:
    """Let something ordinary happen in a scene, but not to the actor `subject`."""
    possible = [name for name, maker in DISTRACTORS.items() if _has_room(maker, scene, subject)]
    weights = np.array([DISTRACTORS[name].weight for name in possible])
    name = str(rng.choice(possible, p=weights / weights.sum()))
    maker = DISTRACTORS[name]
    longest = LONGEST_GRADUAL if maker.gradual else LONGEST
    shortest = SHORTEST_GRADUAL if maker.gradual else SHORTEST
    room = scene.frame_count - 2
    length = int(rng.integers(min(shortest, room), min(longest, room) + 1))
    first = int(rng.integers(1, scene.frame_count - length))
    happened = maker.apply(_Change(rng, scene, settings, subject, first, first + length - 1))
    return Happening(happened, happened.actors.index(scene.actors[subject]), name, first, first + length - 1)


def _lamp(change: _Change) -> Scene:
    """A lamp behind everything lights up."""
    rng, width = change.rng, change.settings.size
    size = round(float(rng.uniform(0.065, 0.09)) * width, 2)
    x, y = (round(float(rng.uniform(size, width - size)), 2) for _ in range(2))
    camera = change.scene.camera or (0,) * change.scene.frame_count
    lamp = tuple(
        ActorState("lamp", "", x - dx, y, size, lit=change.first <= t <= change.last) for t, dx in enumerate(camera)
    )
    return replace(change.scene, actors=(lamp, *change.scene.actors))


def _cloud(change: _Change) -> Scene:
    """Everything gets darker, then lighter again."""
    depth = float(change.rng.uniform(0.25, 0.5))
    light = tuple(round(1 - depth * change.swell(t), 4) for t in range(change.scene.frame_count))
    return replace(change.scene, light=light)


def _visitor(change: _Change) -> Scene:
    """Something comes in at an edge and leaves: across, or back where it came from if there is a wall."""
    rng, scene, width = change.rng, change.scene, change.settings.size
    kind = str(rng.choice([*change.settings.style.solids, "creature"]))
    used = {actor[0].colour for actor in scene.actors}
    colour = str(rng.choice([name for name in COLOURS if name not in used]))
    size = round(float(rng.uniform(*change.settings.style.sizes)) * width, 2)
    y = round(float(rng.uniform(WIDEST * size, width - WIDEST * size)), 2)
    from_left = bool(rng.random() < 0.5)
    xs = _way_across(change, size) if scene.wall is None else _way_in_and_out(change, size)
    xs = xs if from_left else [width - x for x in xs]
    heading = 1 if from_left else -1
    frames = zip(xs, scene.camera or (0,) * scene.frame_count, strict=True)
    visitor = tuple(
        ActorState(kind, colour, round(x - dx, 2), y, size, heading=heading, phase=round(0.08 * x, 3))
        for x, dx in frames
    )
    return replace(scene, actors=(*scene.actors, visitor))


def _way_across(change: _Change, size: float) -> list[float]:
    outside = size * WIDEST + change.settings.style.pan + 1
    length, span = change.last - change.first + 1, change.settings.size + 2 * outside
    shares = [(t - change.first + 1) / (length + 1) for t in range(change.scene.frame_count)]
    return [min(max(share, 0.0), 1.0) * span - outside for share in shares]


def _way_in_and_out(change: _Change, size: float) -> list[float]:
    """From the left as far as the wall allows, and back; mirrored it is the way from the right."""
    assert change.scene.wall is not None
    outside = size * WIDEST + change.settings.style.pan + 1
    room = min(change.scene.wall.x1, change.settings.size - change.scene.wall.x2)
    inmost = room - size * WIDEST
    return [change.swell(t) * (inmost + outside) - outside for t in range(change.scene.frame_count)]


def _approach(change: _Change) -> Scene:
    """A body comes nearer and goes away again, or the other way round where a wall would be in its way."""
    nearer = change.scene.wall is None and bool(change.rng.random() < 0.6)
    most = float(change.rng.uniform(0.4, 0.7)) if nearer else -float(change.rng.uniform(0.3, 0.45))
    index = int(change.rng.choice(change.among(_SOLIDS)))
    return change.changed(index, lambda s, t: replace(s, size=round(s.size * (1 + most * change.swell(t)), 2)))


def _turn(change: _Change) -> Scene:
    """A body turns about itself, until it looks as before."""
    index = int(change.rng.choice(change.among(tuple(_TURNING))))
    kind = change.scene.actors[index][0].kind
    whole = 2 * math.pi / _TURNING[kind] * float(change.rng.choice([-1, 1]))
    length = change.last - change.first + 1
    return change.changed(index, lambda s, t: replace(s, turn=round(whole * (t - change.first + 1) / (length + 1), 4)))


def _lie_down(change: _Change) -> Scene:
    """A creature folds its legs and gets up again."""
    index = int(change.rng.choice(change.among(("creature",))))
    return change.changed(index, lambda s, t: replace(s, crouch=min(1.0, round(1.6 * change.swell(t), 4))))


def _other_word(change: _Change) -> Scene:
    """A board shows another word."""
    index = int(change.rng.choice(change.among(("sign",))))
    present = change.scene.actors[index][0].word
    word = str(change.rng.choice([word for word in WORDS if word != present and len(word) == len(present)]))
    return change.changed(index, lambda s, _: replace(s, word=word))


@dataclass(frozen=True)
class _Maker:
    """How to make a distractor.

    Attributes:
        apply: the edit.
        kinds: the kinds of actor it befalls; none: it needs no actor.
        gradual: whether it comes and goes slowly, so that a short one would be a jump.
        weight: how much likelier than others it is drawn where it can be; makes up for scenes without such an actor.
    """

    apply: Callable[[_Change], Scene]
    kinds: tuple[str, ...] = ()
    gradual: bool = False
    weight: float = 1.0


DISTRACTORS: dict[str, _Maker] = {
    "lamp": _Maker(_lamp),
    "cloud": _Maker(_cloud, gradual=True),
    "visitor": _Maker(_visitor, gradual=True),
    "approach": _Maker(_approach, _SOLIDS, gradual=True),
    "turn": _Maker(_turn, tuple(_TURNING), weight=1.5),
    "lying_down": _Maker(_lie_down, ("creature",), gradual=True, weight=4.0),
    "other_word": _Maker(_other_word, ("sign",), weight=2.5),
}


def _has_room(maker: _Maker, scene: Scene, subject: int) -> bool:
    others = {actor[0].kind for i, actor in enumerate(scene.actors) if i != subject}
    return not maker.kinds or bool(others & set(maker.kinds))
