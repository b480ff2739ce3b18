import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.data.sample.defects import DEFECTS
from cac.rl.downstream.choices import OPTIONS, Choices, make_choices, untrained_probabilities
from cac.rl.downstream.clips import make_clip
from cac.rl.downstream.prompts import FEATURES, Prompt, Thing, random_prompt
from cac.video.motion import mean_motion

SEEDS = st.integers(0, 10_000)
DECIDED = st.tuples(*(st.integers(0, len(options) - 1) for options in OPTIONS.values())).map(Choices)
BALL, CREATURE, SIGN = Thing("ball", "red"), Thing("creature", "orange"), Thing("sign", "blue")


def made(prompt: Prompt, decided: Choices, seed: int = 0):
    return make_clip(prompt, decided, np.random.default_rng(seed))


def as_asked(prompt: Prompt, **more: str) -> Choices:
    first, second = prompt.things
    kinds = {"kind_1": first.kind, "colour_1": first.colour, "kind_2": second.kind, "colour_2": second.colour}
    return make_choices(**{**kinds, "tempo": prompt.pace, **more})


def test_a_prompt_reads_as_people_write_and_is_as_many_numbers_as_are_said():
    prompt = Prompt(BALL, CREATURE, "fast")
    assert str(prompt) == "a red ball and an orange creature, fast"
    assert len(prompt.features()) == FEATURES
    assert sum(prompt.features()) == 5


@settings(deadline=None, max_examples=12)
@given(SEEDS, DECIDED)
def test_a_clip_has_what_was_decided_and_only_anomalies_that_were_decided(seed, decided):
    prompt = random_prompt(np.random.default_rng(seed))
    clip = made(prompt, decided, seed)
    assert (clip.scene.wall is None) == (decided["wall"] == "none")
    kinds = {actor[0].kind for actor in clip.scene.actors}
    assert {decided["kind_1"], decided["kind_2"]} <= kinds
    assert len(clip.scene.actors) == len({decided["kind_1"], decided["kind_2"]}) + (decided["company"] == "one")
    assert set(clip.anomalies) <= set(decided.flaws)
    again = made(prompt, decided, seed)
    assert (again.scene.actors, again.anomalies) == (clip.scene.actors, clip.anomalies)


@settings(deadline=None, max_examples=5)
@given(SEEDS, DECIDED)
def test_a_still_clip_shows_one_frame_and_no_anomaly(seed, decided):
    still = make_choices(**{name: decided[name] for name in OPTIONS} | {"tempo": "still"})
    clip = made(random_prompt(np.random.default_rng(seed)), still, seed)
    frames = clip.video().frames
    assert (frames == frames[0]).all()
    assert not clip.is_anomalous
    assert mean_motion(clip.video()) == 0


@pytest.mark.parametrize("leaf", DEFECTS)
def test_an_anomaly_that_is_decided_is_to_be_seen_and_without_it_the_clip_is_sound(leaf):
    other = next(t for t in (BALL, CREATURE, SIGN) if t.kind in DEFECTS[leaf].kinds)
    prompt = Prompt(other, Thing("star", "green"), "fast")
    flawed = made(prompt, as_asked(prompt, wall="one", **{leaf: "flawed"}))
    sound = made(prompt, as_asked(prompt, wall="one"))
    assert (flawed.anomalies, sound.anomalies) == ((leaf,), ())
    assert (flawed.video().frames != sound.video().frames).any(axis=(1, 2, 3)).any()
    assert (flawed.clean_twin().frames == sound.video().frames).all()
    assert (sound.clean_twin().frames == sound.video().frames).all()


def test_an_anomaly_without_a_victim_is_none():
    prompt = Prompt(BALL, Thing("star", "green"), "fast")
    assert not made(prompt, as_asked(prompt, extra_limb="flawed", wall_penetration="flawed")).is_anomalous


def test_adherence_is_what_is_there_in_its_colour_and_at_its_pace():
    prompt = Prompt(BALL, CREATURE, "slow")
    whole = made(prompt, as_asked(prompt))
    assert (whole.prompted_share, whole.keeps_pace) == (1.0, True)
    half = made(prompt, as_asked(prompt, colour_1="green", tempo="fast"))
    assert (half.prompted_share, half.keeps_pace) == (0.5, False)


def test_a_slow_clip_goes_half_as_fast():
    prompt = Prompt(BALL, Thing("box", "blue"), "fast")
    fast, slow = made(prompt, as_asked(prompt)), made(prompt, as_asked(prompt, tempo="slow"))
    for quick, late in zip(fast.scene.actors, slow.scene.actors, strict=True):
        assert [state.x for state in quick[:12]] == [state.x for state in late[::2]]
    assert mean_motion(slow.video()) < mean_motion(fast.video())


@given(SEEDS)
def test_the_untrained_generator_mostly_does_as_asked(seed):
    prompt = random_prompt(np.random.default_rng(seed))
    table = untrained_probabilities(prompt)
    assert {name: len(row) for name, row in table.items()} == {name: len(row) for name, row in OPTIONS.items()}
    assert all(sum(row) == pytest.approx(1) and min(row) > 0 for row in table.values())
    assert table["tempo"][OPTIONS["tempo"].index(prompt.pace)] > 0.9
    assert table["kind_2"][OPTIONS["kind_2"].index(prompt.second.kind)] > 0.9
