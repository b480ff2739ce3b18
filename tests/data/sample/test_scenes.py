"""Clean scenes: the same seed gives the same pixels, and nothing in them breaks the rules that defects break."""

from itertools import pairwise

import numpy as np
import pytest

from cac.data.sample.render import KINDS, ActorState, extent, sign_half_extent
from cac.data.sample.scenes import Scene, SceneSettings, random_scene

SIZE = 96
SEEDS = range(60)


def make_scene(seed: int, kind: str | None = None, needs_wall: bool = False) -> Scene:
    return random_scene(np.random.default_rng(seed), SceneSettings(SIZE, 24, kind, needs_wall))


def unclipped(state: ActorState) -> tuple[float, float, float, float]:
    """An actor's extent in pixels, not cut to the frame: it is measured in a frame large enough."""
    shifted = ActorState(**{**vars(state), "x": state.x + SIZE, "y": state.y + SIZE})
    x1, y1, x2, y2 = (value * 3 * SIZE - SIZE for value in extent(shifted, 3 * SIZE, 3 * SIZE))
    return x1, y1, x2, y2


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_gives_the_same_pixels(seed: int) -> None:
    assert (make_scene(seed).render() == make_scene(seed).render()).all()
    assert not (make_scene(seed).render([0]) == make_scene(seed + 1).render([0])).all()


def test_frames_are_drawn_as_asked() -> None:
    scene = make_scene(0)
    frames = scene.render()

    assert frames.shape == (24, SIZE, SIZE, 3)
    assert frames.dtype == np.uint8
    assert (scene.render([3, 5]) == frames[[3, 5]]).all()
    assert (scene.frame_count, scene.size) == (24, (SIZE, SIZE))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_required_is_there(kind: str) -> None:
    for seed in range(10):
        scene = make_scene(seed, kind, needs_wall=True)
        kinds = [states[0].kind for states in scene.actors]

        assert kind in kinds
        assert 2 <= len(kinds) <= 4
        assert scene.wall is not None
        assert "sign" not in kinds[kinds.count("sign") :]


def test_actors_stay_in_the_frame() -> None:
    for seed in SEEDS:
        for states in make_scene(seed).actors:
            for state in states:
                # A triangle's corners and a creature's head reach a little past the size they are placed by.
                slack = {"triangle": 3.5, "star": 1.2, "creature": 2.0}.get(state.kind, 0.02)
                x1, y1, x2, y2 = unclipped(state)
                assert min(x1, y1) >= -slack, (seed, state)
                assert max(x2, y2) <= SIZE + slack, (seed, state)


def test_nothing_solid_is_in_the_wall() -> None:
    walls = 0
    for seed in SEEDS:
        scene = make_scene(seed, needs_wall=True)
        assert scene.wall is not None
        walls += 1
        for states in scene.actors:
            if states[0].kind == "sign":
                continue
            slack = 2.0 if states[0].kind == "creature" else 0.02
            left = [unclipped(state)[2] <= scene.wall.x1 + slack for state in states]
            right = [unclipped(state)[0] >= scene.wall.x2 - slack for state in states]
            assert all(left) or all(right), (seed, states[0])
    assert walls == len(SEEDS)


def test_actors_differ_in_colour_and_keep_what_they_are() -> None:
    for seed in SEEDS:
        scene = make_scene(seed)
        colours = [states[0].colour for states in scene.actors if states[0].kind != "sign"]
        assert len(set(colours)) == len(colours)
        for states in scene.actors:
            assert len({(s.kind, s.colour, s.size, s.limbs, s.word, s.visible) for s in states}) == 1


def test_motion_is_continuous() -> None:
    for seed in SEEDS:
        for states in make_scene(seed).actors:
            steps = [abs(b.x - a.x) for a, b in pairwise(states)]
            assert max(steps) <= 2.85
            assert max(abs(b.y - a.y) for a, b in pairwise(states)) <= 14


def test_a_ball_falls_with_one_acceleration_between_bounces() -> None:
    scene = make_scene(1, "ball")
    ys = next([s.y for s in states] for states in scene.actors if states[0].kind == "ball")
    accelerations = np.diff(ys, 2)

    # The bounce itself is the only exception: a sharp turn upwards.
    falling = accelerations[accelerations > 0]
    assert falling == pytest.approx(1.1, abs=0.05)
    assert len(falling) > len(accelerations) / 2


def test_a_sign_is_wider_for_a_longer_word() -> None:
    assert sign_half_extent("KEY") == (20.0, 10.0)
    assert sign_half_extent("KEYS")[0] == 26.0
