"""Distractors: all of them are drawn, none breaks the rules that anomalies break, and both twins have them."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cac.data.sample.build import build_dataset
from cac.data.sample.defects import DEFECTS
from cac.data.sample.distractors import DISTRACTORS, Happening, with_distractor
from cac.data.sample.render import LAMP_LIT, ActorState, extent, render_frame
from cac.data.sample.scenes import SHIFTED, STANDARD, Scene, SceneSettings, Style, random_scene
from cac.params import load_params
from cac.schema.annotations import read_clips

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]
SIZE = 96
SEEDS = range(400)


def draw(seed: int, style: Style = STANDARD, frames: int = 24) -> tuple[Scene, Happening]:
    """A scene as it was and with a distractor that leaves its last actor alone."""
    rng = np.random.default_rng(seed)
    settings = SceneSettings(SIZE, frames, style=style)
    scene = random_scene(rng, settings)
    return scene, with_distractor(rng, scene, settings, len(scene.actors) - 1)


def drawn(name: str, style: Style = STANDARD) -> list[tuple[Scene, Scene]]:
    every = [draw(seed, style) for seed in SEEDS]
    pairs = [(before, happening.scene) for before, happening in every if happening.name == name]
    assert len(pairs) > 10
    return pairs


def changed_actor(before: Scene, after: Scene) -> tuple[ActorState, ...]:
    (actor,) = [actor for actor in after.actors if actor not in before.actors]
    return actor


def changed_frames(before: Scene, after: Scene) -> list[int]:
    differs = (before.render() != after.render()).any(axis=(1, 2, 3))
    return [int(frame) for frame in differs.nonzero()[0]]


@pytest.mark.parametrize("style", [STANDARD, SHIFTED], ids=["standard", "shifted"])
def test_every_distractor_is_drawn_and_the_subject_left_alone(style: Style) -> None:
    names = Counter()
    for seed in SEEDS:
        before, happening = draw(seed, style)
        names[happening.name] += 1
        assert happening.scene.actors[happening.subject] == before.actors[-1], (seed, happening.name)
        assert happening.scene.frame_count == before.frame_count
    assert set(names) == set(DISTRACTORS)
    assert min(names.values()) > 15, names


@pytest.mark.parametrize("name", sorted(set(DISTRACTORS) - {"lamp"}))
def test_it_is_seen_in_its_frames_and_in_no_others(name: str) -> None:
    for seed in SEEDS:
        before, happening = draw(seed)
        if happening.name != name:
            continue
        frames = changed_frames(before, happening.scene)
        assert frames, seed
        assert 1 <= happening.first <= frames[0]
        assert frames[-1] <= happening.last
        assert frames[-1] - frames[0] >= 1


def test_the_shortest_clips_have_room_for_all() -> None:
    names = {draw(seed, frames=8)[1].name for seed in range(100)}
    assert names == set(DISTRACTORS)


def test_gradual_changes_never_jump_as_anomalies_do() -> None:
    """The smallest jump in size is by half or to 0.61; a missing limb is gone at once; a colour swaps at once."""
    for before, after in drawn("approach"):
        sizes = [state.size for state in changed_actor(before, after)]
        assert max(max(a / b, b / a) for a, b in pairwise(sizes)) < 1.45
    for before, after in drawn("lying_down"):
        crouch = [state.crouch for state in changed_actor(before, after)]
        assert max(abs(a - b) for a, b in pairwise(crouch)) < 0.75
        assert max(crouch) == 1
    for _, after in drawn("cloud"):
        assert after.light is not None
        assert max(abs(a - b) for a, b in pairwise(after.light)) < 0.2
        assert 0.5 <= min(after.light) < 0.78
        assert after.light[0] == 1


@pytest.mark.parametrize("style", [STANDARD, SHIFTED], ids=["standard", "shifted"])
def test_a_visitor_comes_and_goes_at_an_edge_and_never_enters_the_wall(style: Style) -> None:
    walls = 0
    for before, after in drawn("visitor", style):
        visitor = changed_actor(before, after)
        widths = [box[2] - box[0] for box in (extent(state, SIZE, SIZE) for state in visitor)]
        assert widths[0] == widths[-1] == 0, "outside at both ends"
        assert max(widths) > 0.1
        for frame, state in enumerate(visitor):
            wall, box = after.wall_at(frame), extent(state, SIZE, SIZE)
            if wall is not None:
                walls += 1
                slack = 2.0  # as for all creatures: a head reaches a little further
                assert box[2] * SIZE <= wall.x1 + slack or box[0] * SIZE >= wall.x2 - slack
    assert walls


def test_nothing_grows_into_the_wall() -> None:
    for before, after in drawn("approach"):
        usual, now = (
            max(state.size for state in actor) for actor in (before_of(before, after), changed_actor(before, after))
        )
        assert before.wall is None or now <= usual


def before_of(before: Scene, after: Scene) -> tuple[ActorState, ...]:
    (actor,) = [actor for actor in before.actors if actor not in after.actors]
    return actor


@pytest.mark.parametrize("kind", ["box", "triangle", "star", "diamond", "cross"])
def test_a_turn_ends_where_the_body_looks_as_before(kind: str) -> None:
    whole = {
        "box": np.pi / 2,
        "triangle": 2 * np.pi / 3,
        "star": 2 * np.pi / 5,
        "diamond": np.pi / 2,
        "cross": np.pi / 2,
    }
    ground = np.full((SIZE, SIZE, 3), 128, dtype=np.uint8)
    state = ActorState(kind, "red", 48, 48, 20)
    usual, half, full = (
        render_frame(ground, None, [replace(state, turn=turn)]).astype(int)
        for turn in (0, whole[kind] / 2, whole[kind])
    )
    unlike = [int((abs(usual - other).max(axis=2) > 60).sum()) for other in (half, full)]
    assert unlike[1] < unlike[0] / 3, "drawn with 36 points, which a star's turn does not map onto each other"
    last = {state.turn for before, after in drawn("turn") for state in changed_actor(before, after)}
    assert max(abs(turn) for turn in last) < 2 * np.pi / 3


def test_a_lamp_is_there_all_the_time_and_lit_for_a_while() -> None:
    for before, after in drawn("lamp", SHIFTED):
        lamp = after.actors[0]
        lit = [t for t, state in enumerate(lamp) if state.lit]
        assert lit == list(range(lit[0], lit[-1] + 1))
        assert 4 <= len(lit) <= 12
        assert before.camera is not None
        assert len({round(state.x + dx, 2) for state, dx in zip(lamp, before.camera, strict=True)}) == 1
    alone = Scene(np.zeros((SIZE, SIZE, 3), np.uint8), None, (lamp,))
    bright = (alone.render() == LAMP_LIT).all(axis=3).any(axis=(1, 2))
    assert list(bright.nonzero()[0]) == lit


def test_a_board_shows_another_word_of_the_same_length() -> None:
    for before, after in drawn("other_word"):
        words = {state.word for state in changed_actor(before, after)}
        assert len(words) == 2
        assert len({len(word) for word in words}) == 1


def test_both_twins_have_the_distractor_and_the_manifest_says_so(tmp_path: Path) -> None:
    params = load_params(REPOSITORY / "params.yaml")
    always = params.procedural_data.model_copy(
        update={
            "pairs": len(DEFECTS),
            "shifted_pairs": 0,
            "hard_train_pairs": 0,
            "hard_test_pairs": 0,
            "distractor_ratio": 1.0,
        }
    )
    build_dataset(tmp_path / "data", params.model_copy(update={"procedural_data": always}))
    clips = read_clips(tmp_path / "data")
    by_pair = {clip.pair_id: [c.distractors for c in clips if c.pair_id == clip.pair_id] for clip in clips}

    assert all(one == other and len(one) == 1 for one, other in by_pair.values())
    assert {distractor.name for one, _ in by_pair.values() for distractor in one} <= set(DISTRACTORS)
    assert all(0 < clip.distractors[0].window[0] < clip.distractors[0].window[1] < clip.duration for clip in clips)
