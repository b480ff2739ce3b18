"""The anomalies of procedural scenes: each leaf as an edit of one actor's states inside a window of frames.

An edit changes nothing outside its window, so the clean scene is the exact twin. Severity in (0, 1] sets its strength
and is kept as the annotation's saliency. Out of scope: which scenes get which leaf (`build.py`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cac.data.sample.render import COLOURS, SOLIDS, ActorState, extent
from cac.data.sample.scenes import Scene
from cac.schema.annotations import Anomaly, FrameBox
from cac.schema.geometry import rounded_box
from cac.schema.taxonomy import family_of


@dataclass(frozen=True)
class Edit:
    """The input of a defect function: the actor's states from frame `first` on, and the scene they belong to."""

    states: tuple[ActorState, ...]
    first: int
    scene: Scene
    severity: float
    rng: np.random.Generator


@dataclass(frozen=True)
class Defect:
    """How to make one leaf: the kinds of actor it applies to, whether it needs a wall, and the edit."""

    kinds: tuple[str, ...]
    apply: Callable[[Edit], list[ActorState]]
    needs_wall: bool = False


def _extra_limb(edit: Edit) -> list[ActorState]:
    extra = 1 if edit.severity < 0.5 else 2 if edit.severity < 0.8 else 3
    return [replace(state, limbs=4 + extra) for state in edit.states]


def _missing_limb(edit: Edit) -> list[ActorState]:
    left = 2 if edit.severity < 0.6 else 1 if edit.severity < 0.85 else 0
    return [replace(state, limbs=left) for state in edit.states]


def _melted_body(edit: Edit) -> list[ActorState]:
    warp = 0.5 + 0.5 * edit.severity
    return [replace(state, warp=warp, phase=round(0.6 * t, 3)) for t, state in enumerate(edit.states)]


def _colour_swap(edit: Edit) -> list[ActorState]:
    present = {actor[0].colour for actor in edit.scene.actors}
    free = [colour for colour in COLOURS if colour not in present]
    colour = str(edit.rng.choice(free))
    return [replace(state, colour=colour) for state in edit.states]


def _vanishing(edit: Edit) -> list[ActorState]:
    return [replace(state, visible=False) for state in edit.states]


def _shape_morph(edit: Edit) -> list[ActorState]:
    kind = str(edit.rng.choice([kind for kind in SOLIDS if kind != edit.states[0].kind]))
    return [replace(state, kind=kind) for state in edit.states]


def _teleport(edit: Edit) -> list[ActorState]:
    return shifted_vertically(edit.states, (0.25 + 0.25 * edit.severity) * edit.scene.size[1], edit.scene.size[1])


def shifted_vertically(states: tuple[ActorState, ...], distance: float, height: int) -> list[ActorState]:
    """Move states up or down, all the same way: where there is more room in the middle of them; kept in the frame."""
    middle = states[len(states) // 2]
    step = -distance if middle.y > height / 2 else distance
    return [replace(s, y=round(min(max(s.y + step, s.size), height - s.size), 2)) for s in states]


def _size_jump(edit: Edit) -> list[ActorState]:
    grows = edit.rng.random() < 0.6
    factor = 1.4 + 0.5 * edit.severity if grows else 0.65 - 0.2 * edit.severity
    return [replace(state, size=state.size * factor) for state in edit.states]


def _wall_penetration(edit: Edit) -> list[ActorState]:
    """Pull the actor into the wall and back: deepest in the middle of the window, to its centre at full severity."""
    depth = 0.7 + 0.3 * edit.severity
    moved = []
    for t, state in enumerate(edit.states):
        wall = edit.scene.wall_at(edit.first + t)
        if wall is None:
            raise ValueError("wall_penetration needs a scene with a wall")
        pull = depth * math.sin(math.pi * (t + 1) / (len(edit.states) + 1)) ** 0.4
        moved.append(replace(state, x=round(state.x + ((wall.x1 + wall.x2) / 2 - state.x) * pull, 2)))
    return moved


def _garbled_text(edit: Edit) -> list[ActorState]:
    seed = int(edit.rng.integers(1 << 30))
    return [replace(state, garble=seed) for state in edit.states]


def _mirrored_text(edit: Edit) -> list[ActorState]:
    return [replace(state, mirrored=True) for state in edit.states]


DEFECTS: dict[str, Defect] = {
    "extra_limb": Defect(("creature",), _extra_limb),
    "missing_limb": Defect(("creature",), _missing_limb),
    "melted_body": Defect(SOLIDS, _melted_body),
    "colour_swap": Defect((*SOLIDS, "creature"), _colour_swap),
    "vanishing": Defect((*SOLIDS, "creature"), _vanishing),
    "shape_morph": Defect(SOLIDS, _shape_morph),
    "teleport": Defect(SOLIDS, _teleport),
    "size_jump": Defect(SOLIDS, _size_jump),
    "wall_penetration": Defect(SOLIDS, _wall_penetration, needs_wall=True),
    "garbled_text": Defect(("sign",), _garbled_text),
    "mirrored_text": Defect(("sign",), _mirrored_text),
}


@dataclass(frozen=True)
class DefectPlan:
    """One defect to inject: the leaf, the actor, the frames [first, last], and how strong."""

    leaf: str
    actor: int
    first: int
    last: int
    severity: float


def inject(scene: Scene, plan: DefectPlan, fps: float, rng: np.random.Generator) -> tuple[Scene, Anomaly]:
    """Return the scene with the defect, and its annotation: window in seconds, a box in each of its frames."""
    states = scene.actors[plan.actor]
    window = states[plan.first : plan.last + 1]
    edited = DEFECTS[plan.leaf].apply(Edit(window, plan.first, scene, plan.severity, rng))
    actor = (*states[: plan.first], *edited, *states[plan.last + 1 :])
    actors = tuple(actor if i == plan.actor else other for i, other in enumerate(scene.actors))
    width, height = scene.size
    boxes = tuple(
        FrameBox(frame=plan.first + t, box=rounded_box(extent(state, width, height))) for t, state in enumerate(edited)
    )
    anomaly = Anomaly(
        family=family_of(plan.leaf),
        leaf=plan.leaf,
        window=(round(plan.first / fps, 4), round((plan.last + 1) / fps, 4)),
        boxes=boxes,
        saliency=round(plan.severity, 3),
    )
    return replace(scene, actors=actors), anomaly
