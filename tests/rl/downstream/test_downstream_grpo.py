"""The policy gradient with rewards that know the truth; nothing is rendered."""

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from cac.errors import CacError
from cac.rl.downstream.choices import OPTIONS
from cac.rl.downstream.generator import ClipGenerator
from cac.rl.downstream.grpo import RandomStreams, Training, train_generator
from cac.rl.downstream.prompts import random_prompt
from cac.rl.reward import RewardSettings, combined_reward

SHORT = Training(updates=9, prompts=4, group=8, learning_rate=0.04)


def oracle(clips):
    return {"reward": [float(not clip.is_anomalous) for clip in clips]}


def watchful(motion_weight: float):
    """A judge that sees every anomaly and has its doubts about all that moves."""
    settings = RewardSettings(1.0, motion_weight=motion_weight)

    def reward(clips):
        still = [clip.choices["tempo"] == "still" for clip in clips]
        scores = [1.0 if held else 0.8 * (not clip.is_anomalous) for held, clip in zip(still, clips, strict=True)]
        return {
            "reward": [combined_reward(s, float(not held), settings) for s, held in zip(scores, still, strict=True)]
        }

    return reward


def stillness(generator: ClipGenerator) -> float:
    """How likely the generator is to make a still clip."""
    prompts = [random_prompt(np.random.default_rng(i)) for i in range(20)]
    logs = generator(prompts)[list(OPTIONS).index("tempo")]
    return float(logs.exp()[:, OPTIONS["tempo"].index("still")].mean().detach())


def test_the_policy_gradient_lowers_the_true_anomaly_rate():
    history = train_generator(ClipGenerator(0), oracle, SHORT, RandomStreams.of(3))
    rates = [entry["anomalous"] for entry in history]
    assert fmean(rates[:3]) > 0.35
    assert fmean(rates[-3:]) < 0.5 * fmean(rates[:3])
    assert history[0]["divergence"] == pytest.approx(0, abs=1e-4)
    assert history[-1]["divergence"] > 0.1


def test_without_the_motion_term_it_becomes_still_and_with_it_it_does_not():
    free, fined = ClipGenerator(0), ClipGenerator(0)
    assert stillness(free) == pytest.approx(0.04)
    long = replace(SHORT, updates=14, prompts=2)
    train_generator(free, watchful(0.0), long, RandomStreams.of(3))
    train_generator(fined, watchful(1.0), long, RandomStreams.of(3))
    assert stillness(free) > 0.5
    assert stillness(fined) < 0.04


def test_the_same_seed_gives_the_same_training_and_nothing_to_learn_changes_nothing():
    few = Training(updates=2, prompts=2, group=2)
    first, second = (train_generator(ClipGenerator(1), oracle, few, RandomStreams.of(5)) for _ in range(2))
    assert first == second
    generator = ClipGenerator(1)
    train_generator(generator, lambda clips: {"reward": [0.5] * len(clips)}, few, RandomStreams.of(5))
    assert stillness(generator) == pytest.approx(0.04, abs=1e-3)


def test_a_group_of_one_has_nothing_to_compare():
    with pytest.raises(CacError, match="two clips per group"):
        Training(group=1)
