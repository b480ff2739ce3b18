"""The anomalies: each shows inside its window, where its boxes say, and nowhere else."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from cac.data.sample.build import make_pair
from cac.data.sample.defects import DEFECTS, DefectPlan, inject, shifted_vertically
from cac.data.sample.render import ActorState
from cac.data.sample.scenes import Scene, SceneSettings, random_scene
from cac.model.nano import OWN_LEAVES
from cac.params import ProceduralData
from cac.schema.taxonomy import LEAVES, family_of

FPS = 8
SETTINGS = ProceduralData(
    pairs=12, shifted_pairs=0, hard_train_pairs=0, hard_test_pairs=0, size=96,
    fps=FPS, min_frames=16, max_frames=32, distractor_ratio=0.0, val_ratio=0.15,
    test_ratio=0.2,
)  # fmt: skip
FIRST, LAST = 6, 12


@cache
def make_example(leaf: str, seed: int) -> tuple[Scene, Scene, DefectPlan]:
    """A clean scene, the same with the defect on its foremost fitting actor, and the plan."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(DEFECTS[leaf].kinds))
    scene = random_scene(rng, SceneSettings(96, 20, kind, DEFECTS[leaf].needs_wall))
    actor = max(i for i, states in enumerate(scene.actors) if states[0].kind == kind)
    order = [states for i, states in enumerate(scene.actors) if i != actor]
    scene = replace(scene, actors=(*order, scene.actors[actor]))
    plan = DefectPlan(leaf, len(order), FIRST, LAST, severity=round(float(rng.uniform(0.2, 1)), 3))
    return scene, inject(scene, plan, FPS, rng)[0], plan


def test_what_is_drawn_is_what_the_nano_has_words_for() -> None:
    assert set(DEFECTS) <= set(LEAVES)
    assert tuple(DEFECTS) == OWN_LEAVES


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("leaf", sorted(DEFECTS))
def test_an_anomaly_shows_in_its_window_and_nowhere_else(leaf: str, seed: int) -> None:
    clean, anomalous, _ = make_example(leaf, seed)
    changed = (clean.render() != anomalous.render()).any(-1).sum((1, 2))

    assert (changed[FIRST : LAST + 1] >= 10).all(), changed
    assert (changed[:FIRST] == 0).all()
    assert (changed[LAST + 1 :] == 0).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("leaf", sorted(DEFECTS))
def test_boxes_cover_the_anomalous_actor_frame_by_frame(leaf: str, seed: int) -> None:
    clean, anomalous, plan = make_example(leaf, seed)
    rng = np.random.default_rng(seed + 100)
    anomalous, anomaly = inject(clean, plan, FPS, rng)
    frames = [box.frame for box in anomaly.boxes]
    # An actor that vanishes is where it is in the clean scene.
    shown = clean if leaf == "vanishing" else anomalous
    hidden = replace(
        shown, actors=(*shown.actors[:-1], tuple(replace(state, visible=False) for state in shown.actors[-1]))
    )
    drawn = (shown.render(frames) != hidden.render(frames)).any(-1)

    assert frames == list(range(FIRST, LAST + 1))
    for box, pixels in zip(anomaly.boxes, drawn, strict=True):
        x1, y1, x2, y2 = box.box
        assert 0 <= x1 < x2 <= 1
        assert 0 <= y1 < y2 <= 1
        ys, xs = np.nonzero(pixels)
        inside = (xs + 1 > x1 * 96) & (xs < x2 * 96) & (ys + 1 > y1 * 96) & (ys < y2 * 96)
        assert inside.mean() >= 0.85
        assert pixels.sum() >= 0.2 * (x2 - x1) * (y2 - y1) * 96 * 96


@pytest.mark.parametrize("leaf", sorted(DEFECTS))
def test_the_annotation_tells_what_was_done(leaf: str) -> None:
    scene, _, plan = make_example(leaf, 0)
    _, anomaly = inject(scene, plan, FPS, np.random.default_rng(0))

    assert (anomaly.leaf, anomaly.family, anomaly.saliency) == (leaf, family_of(leaf), plan.severity)
    assert anomaly.window == (FIRST / FPS, (LAST + 1) / FPS)


def test_a_stronger_defect_is_more_visible() -> None:
    def limbs(leaf: str, severity: float) -> int:
        scene, _, plan = make_example(leaf, 0)
        edited, _ = inject(scene, replace(plan, severity=severity), FPS, np.random.default_rng(0))
        return edited.actors[-1][FIRST].limbs

    assert [limbs("extra_limb", severity) for severity in (0.2, 0.6, 1.0)] == [5, 6, 7]
    assert [limbs("missing_limb", severity) for severity in (0.2, 0.7, 1.0)] == [2, 1, 0]


@pytest.mark.parametrize("seed", range(6))
def test_wall_penetration_reaches_into_the_wall(seed: int) -> None:
    clean, anomalous, _ = make_example("wall_penetration", seed)
    wall = clean.wall
    assert wall is not None

    def depth(scene: Scene) -> float:
        middle = scene.actors[-1][(FIRST + LAST) // 2]
        return min(middle.x + middle.size, wall.x2) - max(middle.x - middle.size, wall.x1)

    assert depth(clean) <= 0
    assert depth(anomalous) >= 5


def test_wall_penetration_without_a_wall_is_an_error() -> None:
    scene = next(
        s for s in (random_scene(np.random.default_rng(i), SceneSettings(96, 20)) for i in range(50)) if not s.wall
    )

    with pytest.raises(ValueError, match="wall"):
        inject(scene, DefectPlan("wall_penetration", 0, FIRST, LAST, 1.0), FPS, np.random.default_rng(0))


@pytest.mark.parametrize("seed", range(10))
def test_a_colour_swap_takes_a_colour_no_one_wears(seed: int) -> None:
    clean, anomalous, _ = make_example("colour_swap", seed)

    assert anomalous.actors[-1][FIRST].colour not in {states[0].colour for states in clean.actors}


def test_states_move_to_where_there_is_room_and_stay_in_the_frame() -> None:
    low = tuple(ActorState("ball", "red", 20.0, y, 10.0) for y in (60.0, 70.0, 80.0))
    high = tuple(ActorState("ball", "red", 20.0, y, 10.0) for y in (15.0, 20.0, 70.0))

    assert [state.y for state in shifted_vertically(low, 30.0, 96)] == [30.0, 40.0, 50.0]
    assert [state.y for state in shifted_vertically(high, 30.0, 96)] == [45.0, 50.0, 86.0]


def test_pairs_of_the_dataset_differ_in_one_actor_inside_the_window() -> None:
    leaves = set()
    for index in range(12):
        pair = make_pair(index, SETTINGS, seed=7)
        leaves.add(pair.anomaly.leaf)
        differing = [(a, b) for a, b in zip(pair.clean.actors, pair.anomalous.actors, strict=True) if a != b]
        frames = [t for t, (a, b) in enumerate(zip(*differing[0], strict=True)) if a != b]

        assert len(differing) == 1
        assert set(frames) <= {box.frame for box in pair.anomaly.boxes}
        assert pair.anomaly.window[0] == pytest.approx(pair.anomaly.boxes[0].frame / FPS)
        assert pair.anomaly.boxes[0].frame > 0
        assert pair.anomaly.boxes[-1].frame < pair.clean.frame_count - 1
    assert leaves == set(DEFECTS)
