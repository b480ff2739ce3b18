"""Build the embedded sample dataset: procedural scenes as mp4, each anomalous clip with its clean twin.

The same settings give the same bytes on any machine, so that a fresh clone rebuilds exactly what `data.dvc` names and
needs no remote. An interrupted build leaves no partial dataset (`atomic_dataset.py`).
"""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cac.data.atomic_dataset import new_dataset, split_of
from cac.data.sample.defects import DEFECTS, DefectPlan, inject
from cac.data.sample.distractors import with_distractor
from cac.data.sample.render import SOLIDS, extent
from cac.data.sample.scenes import SHIFTED, SMALL, STANDARD, Scene, SceneSettings, Style, random_scene
from cac.io.parallel import parallel_map
from cac.io.progress import track
from cac.params import Params, ProceduralData
from cac.schema.annotations import CARD_NAME, SCHEMA_VERSION, Anomaly, Clip, Distractor, Split, write_clips
from cac.schema.geometry import box_area, box_iou
from cac.schema.taxonomy import TAXONOMY_VERSION, Family, family_of
from cac.video.encode import encode

SOURCE = "procedural"
SHORTEST_WINDOW, LONGEST_WINDOW = 4, 12  # frames
MARGIN = 2  # frames at both ends without the anomaly
SCENE_TRIES = 40
FIRST_SHIFTED = 100_000  # scenes from this number on are of the shifted style
FIRST_HARD_TRAIN, FIRST_HARD_TEST = 200_000, 300_000  # scenes from these numbers on are hard
HARD_FRAMES = (48, 72)  # at 8 fps up to 9 seconds: the nano's tokenizer knows times up to 9.9
HARD_CYCLE = 24  # scenes with every leaf at least once: brief and small anomalies take turns of so many
MAX_COVERED = 0.25  # ratio of the anomaly that other actors may hide


@dataclass(frozen=True)
class Part:
    """What the scenes of one part of the sample have in common.

    Attributes:
        name: how the names of its clips begin.
        style: how they look and move.
        frames: how many frames a clip has, from and to.
        window: how many frames the anomaly lasts, from and to.
    """

    name: str
    style: Style
    frames: tuple[int, int]
    window: tuple[int, int] = (SHORTEST_WINDOW, LONGEST_WINDOW)


@dataclass(frozen=True)
class Pair:
    """A scene with and without its anomaly; the distractors are in both."""

    clean: Scene
    anomalous: Scene
    anomaly: Anomaly
    distractors: tuple[Distractor, ...] = ()


def build_dataset(out: Path, params: Params, *, overwrite: bool = False) -> None:
    """Render the dataset into `out`; with `overwrite` it may replace a dataset.

    Raises:
        CacError: `out` cannot be written, or holds something that may not be replaced.
    """
    with new_dataset(out, overwrite=overwrite) as folder:
        _render(folder, params)


def _render(folder: Path, params: Params) -> None:
    settings = params.procedural_data
    clips: list[Clip] = []
    write = partial(_write_numbered_pair, folder, settings, params.compute.seed)
    numbers = scene_numbers(settings)
    for pair in track(parallel_map(write, numbers), "Rendering clip pairs", total=len(numbers)):
        clips += pair
    write_clips(folder, sorted(clips, key=lambda clip: clip.clip_id))
    (folder / CARD_NAME).write_text(json.dumps(_card(params), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def scene_numbers(settings: ProceduralData) -> list[int]:
    """Return the numbers of all scenes."""
    counts = {
        0: settings.pairs,
        FIRST_SHIFTED: settings.shifted_pairs,
        FIRST_HARD_TRAIN: settings.hard_train_pairs,
        FIRST_HARD_TEST: settings.hard_test_pairs,
    }
    return [first + i for first, count in counts.items() for i in range(count)]


def part_of(index: int, settings: ProceduralData) -> Part:
    """Return the part of the sample that a scene belongs to.

    In the hard scenes the coarse frames of a scan do not decide. The anomaly is brief, one or two frames of a long
    clip, so that most scans show none of them; or it happens to a small thing, in which only the larger frames of a
    close look show what is wrong. Signs have one size, so their anomalies are always brief.
    """
    if index < FIRST_SHIFTED:
        return Part("scene", STANDARD, (settings.min_frames, settings.max_frames))
    if index < FIRST_HARD_TRAIN:
        return Part("scene", SHIFTED, (settings.min_frames, settings.max_frames))
    if index // HARD_CYCLE % 2 or "sign" in DEFECTS[_leaf_of(index)].kinds:
        return Part("brief", STANDARD, HARD_FRAMES, window=(1, 2))
    return Part("small", SMALL, HARD_FRAMES)


def make_pair(index: int, settings: ProceduralData, seed: int) -> Pair:
    """Make pair number `index`; families and the leaves of each are cycled through, so that all are equally frequent.

    Scenes are redrawn until other actors hide little of the anomaly.
    """
    rng = np.random.default_rng([seed, index])
    leaf = _leaf_of(index)
    best: tuple[float, Pair] | None = None
    for _ in range(SCENE_TRIES):
        pair, covered = _try_pair(rng, leaf, settings, part_of(index, settings))
        if best is None or covered < best[0]:
            best = (covered, pair)
        if covered <= MAX_COVERED:
            break
    assert best is not None
    return best[1]


def _leaf_of(index: int) -> str:
    families = list(Family)
    names = [name for name in DEFECTS if family_of(name) == families[index % len(families)]]
    return names[index // len(families) % len(names)]


def _try_pair(rng: np.random.Generator, leaf: str, settings: ProceduralData, part: Part) -> tuple[Pair, float]:
    defect = DEFECTS[leaf]
    frames = int(rng.integers(part.frames[0], part.frames[1] + 1))
    kinds = part.style.solids if defect.kinds == SOLIDS else defect.kinds
    kind = str(rng.choice(kinds))
    scene_settings = SceneSettings(settings.size, frames, kind, defect.needs_wall, part.style)
    scene = random_scene(rng, scene_settings)
    actor = next(i for i, states in enumerate(scene.actors) if states[0].kind == kind)
    distractors: tuple[Distractor, ...] = ()
    if rng.random() < settings.distractor_ratio:
        happening = with_distractor(rng, scene, scene_settings, actor)
        scene, actor = happening.scene, happening.subject
        seconds = (round(happening.first / settings.fps, 4), round((happening.last + 1) / settings.fps, 4))
        distractors = (Distractor(name=happening.name, window=seconds),)
    length = int(rng.integers(part.window[0], min(part.window[1], frames - 2 * MARGIN) + 1))
    first = int(rng.integers(MARGIN, frames - MARGIN - length + 1))
    severity = round(float(rng.uniform(0.2, 1.0)), 3)
    plan = DefectPlan(leaf, actor, first, first + length - 1, severity)
    edited, anomaly = inject(scene, plan, settings.fps, rng)
    return Pair(scene, edited, anomaly, distractors), _covered(edited, plan)


def _covered(scene: Scene, plan: DefectPlan) -> float:
    """Return the mean share of the anomalous actor's box that actors in front of it overlap, in [0, 1]."""
    width, height = scene.size
    shares = []
    for t in range(plan.first, plan.last + 1):
        own = extent(scene.actors[plan.actor][t], width, height)
        share = 0.0
        for other in scene.actors[plan.actor + 1 :]:
            iou = box_iou(own, extent(other[t], width, height))
            share += iou * (box_area(own) + box_area(extent(other[t], width, height))) / (1 + iou) / box_area(own)
        shares.append(min(1.0, share))
    return sum(shares) / len(shares)


def _write_numbered_pair(folder: Path, settings: ProceduralData, seed: int, index: int) -> list[Clip]:
    pair, split = make_pair(index, settings, seed), _split_of(index, settings)
    frames, pair_id = pair.clean.render(), f"{part_of(index, settings).name}{index:04d}"
    clean = _write_clip(folder, (f"{pair_id}-clean", pair_id, split), frames, settings)
    clean = clean.model_copy(update={"distractors": pair.distractors})
    odd = [box.frame for box in pair.anomaly.boxes]  # in other frames the twins are equal
    frames[odd] = pair.anomalous.render(odd)
    anomalous = _write_clip(folder, (f"{pair_id}-anomalous", pair_id, split), frames, settings)
    return [anomalous.model_copy(update={"anomalies": (pair.anomaly,), "distractors": pair.distractors}), clean]


def _split_of(index: int, settings: ProceduralData) -> Split:
    """Assign scenes to splits by a hash, so that a larger dataset keeps the splits of a smaller one."""
    if index >= FIRST_HARD_TEST:
        return "test_hard"
    if index >= FIRST_HARD_TRAIN:
        return "train"
    if index >= FIRST_SHIFTED:
        return "test_shifted"
    return split_of(f"{SOURCE}-{index}", settings.val_ratio, settings.test_ratio)


def _write_clip(folder: Path, name: tuple[str, str, Split], frames: np.ndarray, settings: ProceduralData) -> Clip:
    clip_id, pair_id, split = name
    path = folder / "clips" / f"{clip_id}.mp4"
    encode(path, frames, settings.fps)
    count, height, width, _ = frames.shape
    return Clip(
        clip_id=clip_id,
        path=f"clips/{path.name}",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        fps=float(settings.fps),
        frame_count=count,
        width=width,
        height=height,
        source=SOURCE,
        generator="cac.data.scenes",  # as in the released dataset: another value changes the bytes that data.dvc names
        split=split,
        pair_id=pair_id,
        anomalies=(),
    )


def _card(params: Params) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "taxonomy_version": TAXONOMY_VERSION,
        "source": SOURCE,
        "licence": "CC0-1.0",
        "made_by": "cac data build",
        "settings": params.procedural_data.model_dump(),
        "seed": params.compute.seed,
    }
