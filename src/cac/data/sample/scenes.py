"""Procedural scenes: objects and their motion, physically plausible and without any anomaly.

Balls fall and bounce, solids slide and turn at the edges, creatures walk, signs stand or drift; nothing enters a wall.
Out of scope: drawing (`render.py`), harmless changes (`distractors.py`) and anomalies (`defects.py`).
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from cac.data.sample.glyphs import WORDS
from cac.data.sample.render import COLOURS, SHIFTED_SOLIDS, SOLIDS, ActorState, Wall, render_frame, sign_half_extent

GRAVITY = 1.1  # pixels per frame per frame
WIDEST = 1.4  # half-extent of the widest actor, a creature, in sizes


@dataclass(frozen=True)
class Scene:
    """A scene of `frame_count` frames; `actors[a][t]` is the state of actor `a` in frame `t`, back to front."""

    background: np.ndarray
    wall: Wall | None
    actors: tuple[tuple[ActorState, ...], ...]
    camera: tuple[int, ...] | None = None  # by how many pixels each frame's view is moved to the left; actors have it
    light: tuple[float, ...] | None = None  # how light each frame is, in [0, 1]; None: as light as can be

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return len(self.actors[0])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.background.shape[1], self.background.shape[0]

    def render(self, frames: list[int] | None = None) -> np.ndarray:
        """Draw the given frames, or all: uint8 (frames, height, width, 3)."""
        chosen = range(self.frame_count) if frames is None else frames
        return np.stack([self._render_one(t) for t in chosen])

    def wall_at(self, frame: int) -> Wall | None:
        """Return where the wall is seen in a frame."""
        if self.wall is None or self.camera is None:
            return self.wall
        return Wall(self.wall.x1 - self.camera[frame], self.wall.x2 - self.camera[frame])

    def _render_one(self, frame: int) -> np.ndarray:
        background = self.background if self.camera is None else np.roll(self.background, -self.camera[frame], axis=1)
        light = 1.0 if self.light is None else self.light[frame]
        return render_frame(background, self.wall_at(frame), [actor[frame] for actor in self.actors], light)


@dataclass(frozen=True)
class Style:
    """How scenes look and move.

    Attributes:
        solids: the kinds of solid bodies.
        sizes: half-extents of the actors, from and to, in frame widths.
        pace: factor on all speeds but that of falling.
        contrast: factor on the backdrop's tint, gradient and pattern.
        pan: how far the camera swings to either side, pixels.
    """

    solids: tuple[str, ...]
    sizes: tuple[float, float]
    pace: float
    contrast: float
    pan: int


STANDARD = Style(SOLIDS, (0.1, 0.145), 1.0, 1.0, 0)
SHIFTED = Style((*SOLIDS, *SHIFTED_SOLIDS), (0.085, 0.165), 1.4, 2.0, 5)
SMALL = Style(SOLIDS, (0.05, 0.07), 1.0, 1.0, 0)


@dataclass(frozen=True)
class SceneSettings:
    """What `random_scene` draws from: frame size in pixels, number of frames, and kinds that must be present."""

    size: int
    frame_count: int
    required_kind: str | None = None
    needs_wall: bool = False
    style: Style = STANDARD


def random_scene(rng: np.random.Generator, settings: SceneSettings) -> Scene:
    """Draw a scene: a background, perhaps a wall, and two to four actors, one of them of the required kind."""
    wall = _random_wall(rng, settings.size) if settings.needs_wall or rng.random() < 0.4 else None
    solids = settings.style.solids
    kinds = [settings.required_kind or str(rng.choice(solids))]
    kinds += [str(rng.choice([*solids, "creature"])) for _ in range(int(rng.integers(1, 3)))]
    if "sign" not in kinds and rng.random() < 0.4:
        kinds.append("sign")
    colours = [str(c) for c in rng.permutation(list(COLOURS))]
    actors = [_random_actor(rng, kind, colour, settings, wall) for kind, colour in zip(kinds, colours, strict=False)]
    # Signs stay behind and the rest in random order, so that the required actor is not always the lowest.
    order = sorted(range(len(actors)), key=lambda i: (kinds[i] != "sign", rng.random()))
    scene = Scene(_random_background(rng, settings), wall, tuple(actors[i] for i in order))
    return _panned(rng, scene, settings.style.pan) if settings.style.pan else scene


def _panned(rng: np.random.Generator, scene: Scene, pan: int) -> Scene:
    """Let the camera swing from side to side: everything in the picture moves against it."""
    period, start = float(rng.uniform(14, 30)), float(rng.uniform(0, 2 * math.pi))
    camera = tuple(round(pan * math.sin(start + 2 * math.pi * t / period)) for t in range(scene.frame_count))
    actors = (tuple(replace(s, x=round(s.x - dx, 2)) for s, dx in zip(a, camera, strict=True)) for a in scene.actors)
    return replace(scene, actors=tuple(actors), camera=camera)


def _random_wall(rng: np.random.Generator, size: int) -> Wall:
    centre, half = float(rng.uniform(0.42, 0.58)) * size, float(rng.uniform(0.06, 0.09)) * size
    return Wall(round(centre - half, 1), round(centre + half, 1))


def _random_background(rng: np.random.Generator, settings: SceneSettings) -> np.ndarray:
    """Draw a muted backdrop: a soft gradient of a greyish tint, with faint stripes, checks or a horizon."""
    size, contrast = settings.size, settings.style.contrast
    tint = rng.integers(100, 185) + contrast * rng.integers(-12, 13, 3)
    rows = np.linspace(-1, 1, size)[:, None, None]
    image = np.broadcast_to(tint + contrast * rng.integers(-14, 15) * rows, (size, size, 3)).copy()
    ys, xs = np.mgrid[:size, :size]
    pattern, period = rng.integers(4), int(rng.integers(8, 24))
    if pattern == 1:
        image += 5.0 * contrast * ((xs // period) % 2)[..., None]
    elif pattern == 2:
        image += 5.0 * contrast * ((xs // period + ys // period) % 2)[..., None]
    elif pattern == 3:
        image[int(size * 0.75) :] *= 1 - 0.1 * contrast
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def _random_actor(
    rng: np.random.Generator, kind: str, colour: str, settings: SceneSettings, wall: Wall | None
) -> tuple[ActorState, ...]:
    if kind == "sign":
        return _sign(rng, settings)
    left, right = _free_side(rng, settings.size, wall)
    size = min(float(rng.uniform(*settings.style.sizes)) * settings.size, (right - left) / (2 * WIDEST))
    low, high = left + size * WIDEST, right - size * WIDEST
    if kind == "creature":
        return _creature(rng, colour, settings, (size, low, high))
    return _solid(rng, (kind, colour), settings, (size, low, high))


def _free_side(rng: np.random.Generator, width: int, wall: Wall | None) -> tuple[float, float]:
    """Return where an actor has room, from x to x: the whole width, or one side of the wall."""
    if wall is None:
        return 0.0, float(width)
    return (0.0, wall.x1) if rng.random() < 0.5 else (wall.x2, float(width))


def _sign(rng: np.random.Generator, settings: SceneSettings) -> tuple[ActorState, ...]:
    word = str(rng.choice(WORDS))
    half_width, half_height = sign_half_extent(word)
    xs = _bounce(
        rng,
        half_width,
        settings.size - half_width,
        settings.style.pace * float(rng.uniform(0, 1.2)),
        settings.frame_count,
    )
    y = float(rng.uniform(half_height, settings.size - half_height))
    colour = str(rng.choice(["red", "green", "blue", "purple"]))
    return tuple(ActorState("sign", colour, x, round(y, 2), half_height, word=word) for x in xs)


def _creature(
    rng: np.random.Generator, colour: str, settings: SceneSettings, room: tuple[float, float, float]
) -> tuple[ActorState, ...]:
    size, low, high = room[0] * 1.15, room[1], room[2]
    speed = settings.style.pace * float(rng.uniform(0.8, 2.0))
    xs = _bounce(rng, low, max(high, low), speed, settings.frame_count)
    y = round(settings.size - size - float(rng.uniform(1, settings.size * 0.35)), 2)
    states = []
    for t, x in enumerate(xs):
        heading = 1 if xs[min(t + 1, len(xs) - 1)] >= x else -1
        states.append(ActorState("creature", colour, x, y, size, heading=heading, phase=round(0.45 * speed * t, 3)))
    return tuple(states)


def _solid(
    rng: np.random.Generator, look: tuple[str, str], settings: SceneSettings, room: tuple[float, float, float]
) -> tuple[ActorState, ...]:
    """A ball falls and bounces; the other solids slide in straight lines."""
    kind, colour = look
    size, low, high = room
    pace = settings.style.pace
    xs = _bounce(rng, low, max(high, low), pace * float(rng.uniform(0.6, 2.8)), settings.frame_count)
    if kind == "ball":
        ys = _fall(rng, size, settings)
    else:
        edge = size * WIDEST
        ys = _bounce(rng, edge, settings.size - edge, pace * float(rng.uniform(0, 1.5)), settings.frame_count)
    return tuple(ActorState(kind, colour, x, y, size) for x, y in zip(xs, ys, strict=True))


def _bounce(rng: np.random.Generator, low: float, high: float, speed: float, frames: int) -> list[float]:
    """Return positions of a body that moves at constant speed and turns at both ends."""
    span = max(high - low, 1e-6)
    start = float(rng.uniform(0, 2 * span))
    return [round(low + span - abs((start + speed * t) % (2 * span) - span), 2) for t in range(frames)]


def _fall(rng: np.random.Generator, size: float, settings: SceneSettings) -> list[float]:
    """Return heights of a ball dropped from a random height, bouncing without loss: periodic parabolas."""
    floor = settings.size - size
    drop = float(rng.uniform(0.35, 0.8)) * (floor - size)
    fall_time = math.sqrt(2 * drop / GRAVITY)
    start = float(rng.uniform(0, 2 * fall_time))
    times = [(start + t) % (2 * fall_time) - fall_time for t in range(settings.frame_count)]
    return [round(floor - drop + GRAVITY * t * t / 2, 2) for t in times]
