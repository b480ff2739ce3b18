"""Clips rendered from a prompt and choices; what was rendered is known, and so is the truth about each clip.

Scenes are those of `data/sample/scenes.py`. Scenes are drawn until one holds the chosen kinds of things; other things
in it are removed. A slow clip shows the scene at half its speed. Defects are injected as in the dataset, with the same
windows and severities. A still clip repeats its first frame, in which no defect has begun.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cac.data.sample.build import LONGEST_WINDOW, MARGIN, SHORTEST_WINDOW
from cac.data.sample.defects import DEFECTS, DefectPlan, inject
from cac.data.sample.render import ActorState
from cac.data.sample.scenes import Scene, SceneSettings, random_scene
from cac.rl.downstream.choices import STILL, Choices
from cac.rl.downstream.prompts import PALETTE, Prompt, Thing
from cac.video.decode import Video

FPS = 8.0
FRAMES = 24
SIDE = 96  # pixels
_MAX_SCENES = 2000  # drawn per clip; about 30 are nearly always enough

Actor = tuple[ActorState, ...]


@dataclass(frozen=True)
class GeneratedClip:
    """A generated clip with its truth.

    Attributes:
        prompt, choices: what it was generated from.
        scene: what is rendered, anomalies included.
        clean_scene: the same without the anomalies, for the clean twin.
        anomalies: the leaves that are visible in it; a defect that changes no frame does not count.
    """

    prompt: Prompt
    choices: Choices
    scene: Scene
    clean_scene: Scene
    anomalies: tuple[str, ...]

    @property
    def is_anomalous(self) -> bool:
        """Whether an anomaly is visible."""
        return bool(self.anomalies)

    @property
    def prompted_share(self) -> float:
        """The share of the prompt's things that are in the first frame, with the right kind and colour."""
        present = {Thing(actor[0].kind, actor[0].colour) for actor in self.scene.actors}
        return sum(thing in present for thing in self.prompt.things) / len(self.prompt.things)

    @property
    def keeps_pace(self) -> bool:
        """Whether the tempo is the prompt's."""
        return self.choices["tempo"] == self.prompt.pace

    def video(self) -> Video:
        """Render the clip."""
        return Video(self.scene.render(), FPS)

    def clean_twin(self) -> Video:
        """Render the clip without its anomalies."""
        return Video(self.clean_scene.render(), FPS)


def make_clip(prompt: Prompt, decided: Choices, rng: np.random.Generator) -> GeneratedClip:
    """Generate a clip; the same generator state gives the same clip."""
    clean = _scene(decided, rng)
    scene = replace(clean, actors=tuple(_slowed(actor) for actor in clean.actors)) if _is_slow(decided) else clean
    flawed, leaves = scene, []
    for leaf in decided.flaws:
        edited = _inject(flawed, leaf, rng)
        if edited.actors != flawed.actors:
            leaves.append(leaf)
        flawed = edited
    if decided["tempo"] == STILL:
        return GeneratedClip(prompt, decided, _held(flawed), _held(scene), ())
    return GeneratedClip(prompt, decided, flawed, scene, tuple(leaves))


def _is_slow(decided: Choices) -> bool:
    return decided["tempo"] == "slow"


def _scene(decided: Choices, rng: np.random.Generator) -> Scene:
    """Draw a scene with the chosen things; of two things of the same kind only the first appears."""
    things = {decided["kind_2"]: decided["colour_2"], decided["kind_1"]: decided["colour_1"]}
    count = len(things) + (decided["company"] == "one")
    required = next((kind for kind in things if kind != "sign"), "sign")  # signs are frequent anyway
    settings = SceneSettings(SIDE, FRAMES, required, needs_wall=decided["wall"] == "one")
    for _ in range(_MAX_SCENES):
        scene = random_scene(rng, settings)
        kinds = [actor[0].kind for actor in scene.actors]
        if (scene.wall is None) == (decided["wall"] == "none") and set(things) <= set(kinds) and len(kinds) >= count:
            return _cast(scene, things, count)
    raise RuntimeError(f"no scene with {', '.join(things)} among {_MAX_SCENES}")


def _cast(scene: Scene, things: dict[str, str], count: int) -> Scene:
    """Keep one actor for each thing, in its colour, and further actors in unused colours up to `count`."""
    kinds = [actor[0].kind for actor in scene.actors]
    chosen = {kinds.index(kind): colour for kind, colour in things.items()}
    free = [colour for colour in PALETTE if colour not in things.values()]
    others = [i for i in range(len(kinds)) if i not in chosen][: count - len(chosen)]
    chosen |= dict(zip(others, free, strict=False))
    actors = (tuple(replace(state, colour=chosen[i]) for state in scene.actors[i]) for i in sorted(chosen))
    return replace(scene, actors=tuple(actors))


def _slowed(actor: Actor) -> Actor:
    """Slow an actor down to half its speed, interpolating between frames."""
    return tuple(actor[t // 2] if t % 2 == 0 else _between(actor[t // 2], actor[t // 2 + 1]) for t in range(len(actor)))


def _between(before: ActorState, after: ActorState) -> ActorState:
    x, y, phase = ((a + b) / 2 for a, b in ((before.x, after.x), (before.y, after.y), (before.phase, after.phase)))
    return replace(before, x=round(x, 2), y=round(y, 2), phase=round(phase, 3))


def _held(scene: Scene) -> Scene:
    return replace(scene, actors=tuple((actor[0],) * len(actor) for actor in scene.actors))


def _inject(scene: Scene, leaf: str, rng: np.random.Generator) -> Scene:
    """Inject a defect into one of the suitable actors; without any, return the scene unchanged."""
    victims = _victims(scene, leaf)
    if not victims:
        return scene
    length = int(rng.integers(SHORTEST_WINDOW, LONGEST_WINDOW + 1))
    first = int(rng.integers(MARGIN, FRAMES - MARGIN - length + 1))
    severity = round(float(rng.uniform(0.2, 1.0)), 3)
    plan = DefectPlan(leaf, int(rng.choice(victims)), first, first + length - 1, severity)
    return inject(scene, plan, FPS, rng)[0]


def _victims(scene: Scene, leaf: str) -> Sequence[int]:
    defect = DEFECTS[leaf]
    if defect.needs_wall and scene.wall is None:
        return []
    return [i for i, actor in enumerate(scene.actors) if actor[0].kind in defect.kinds]
