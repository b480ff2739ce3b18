"""Simulate how often the gate errs: worse models let through, equal and better ones refused.

    python -m benchmarks.gate_errors

A simulated model has a quality, the balanced accuracy it would have on endless clips. It judges a test split of clip
pairs by a suspicion per clip: the truth, plus noise that all trainings share (hard clips), plus noise of its own. How
much is shared follows from `discordance`, the share of clips on which two trainings of equal quality differ. The score
is the calibrated probability of that suspicion, with a small error of its own; on clean clips a window is named at a
slightly lower suspicion than the verdict needs. Facts go through the gate's own comparison, checks and rule for the
pin. Out of scope: absolute bounds, and models whose score and verdict disagree.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import NormalDist

import numpy as np

from cac.evaluation.facts import Facts, clip_facts
from cac.model.calibration import bin_indices
from cac.params import Params, load_params
from cac.registry.comparison import Comparison, Measured, family_members, measure, subtract_measured
from cac.registry.gate import Check, Reference, comparison_checks, is_better
from cac.registry.versions import BEST, CHAMPION
from tests.helpers.tiny_versions import Tiny, answers

QUALITY = 0.875  # balanced accuracy of the first champion
STEP = 0.015  # how much worse than the champion each candidate of a declining chain is
LENGTH = 10  # candidates in a chain
DISCORDANCES = (0.05, 0.1, 0.15)
SAMPLES = 200  # bootstrap samples; the gate uses `evaluation.bootstrap_samples`
_NORMAL = NormalDist()
_WINDOW_MARGIN = 0.15  # how much less suspicion than a verdict a window needs
_BINS = 10
_DRAWS = 200_000  # to find the shared noise


@dataclass(frozen=True)
class Model:
    """A simulated model: its quality, the facts of its judgements on the test split, and what the gate measures."""

    quality: float
    facts: Facts
    measured: Measured


class TestSplit:
    """Clips with a difficulty each, which all simulated models share; draws models on them."""

    __test__ = False  # for pytest

    def __init__(self, params: Params, pairs: int, discordance: float, seed: int) -> None:
        """Make `pairs` pairs; two models of quality QUALITY differ on the share `discordance` of the clips."""
        measured = answers(Tiny(pairs=pairs))
        self._params, self._families = params, family_members(measured.clips)
        self._template = clip_facts(measured.clips, measured.judgements, measured.scores)
        self._chance = np.random.default_rng(seed)
        self._shared = shared_noise(discordance)
        self._difficulty = self._chance.standard_normal(len(measured.clips))

    def draw(self, quality: float) -> Model:
        """Return a new training of the given quality."""
        mean, clips = _NORMAL.inv_cdf(quality), len(self._difficulty)
        noise = self._shared**0.5 * self._difficulty
        noise = noise + (1 - self._shared) ** 0.5 * self._chance.standard_normal(clips)
        suspicion = np.where(self._template.anomalous > 0, mean, -mean) + noise
        slope, bias = self._chance.lognormal(0, 0.1), self._chance.normal(0, 0.1)
        score = 1 / (1 + np.exp(2 * mean * slope * suspicion + bias))
        return self.model(quality, suspicion > 0, score, suspicion > -_WINDOW_MARGIN)

    def model(self, quality: float, flagged: np.ndarray, score: np.ndarray, named: np.ndarray) -> Model:
        """Return the model with these verdicts, scores, and whether it names a window, each of shape (clips,)."""
        facts = replace(
            self._template,
            flagged=flagged.astype(float),
            score=score,
            score_bin=bin_indices(score, _BINS).astype(float),
            twin=self._twin_wins(score),
            named=named.astype(float),
        )
        return Model(quality, facts, measure(facts, self._families, self._params))

    def _twin_wins(self, score: np.ndarray) -> np.ndarray:
        anomalous, pair = self._template.anomalous > 0, self._template.pair.astype(int)
        clean = np.empty(pair.max() + 1)
        clean[pair[~anomalous]] = score[~anomalous]
        own = clean[pair]
        return np.where(anomalous, (own > score) + 0.5 * (own == score), np.nan)


@cache
def shared_noise(discordance: float) -> float:
    """Return the shared part of the noise's variance, in [0, 1], that gives this discordance at QUALITY."""
    chance, mean = np.random.default_rng(0), _NORMAL.inv_cdf(QUALITY)
    shared, *own = chance.standard_normal((3, _DRAWS))
    low, high = 0.0, 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        first, second = (mean + middle**0.5 * shared + (1 - middle) ** 0.5 * one > 0 for one in own)
        low, high = (middle, high) if np.mean(first != second) > discordance else (low, middle)
    return (low + high) / 2


@dataclass
class Registry:
    """A champion and the best version, and the gate between them and candidates."""

    split: TestSplit
    params: Params
    champion: Model
    best: Model

    def offer(self, candidate: Model) -> list[Check]:
        """Let the gate decide on a candidate, and return the checks that failed."""
        references = {CHAMPION: self.champion} if self.champion is self.best else self._both()
        compared = {role: compare(candidate, model) for role, model in references.items()}
        gate = self.params.registry.gate
        checks = [one for role, c in compared.items() for one in comparison_checks(c, Reference(role, role), gate)]
        failed = [check for check in checks if not check.passed]
        if not failed:
            self.champion = candidate
            self.best = candidate if is_better(list(compared.values())[-1]) else self.best
        return failed

    def _both(self) -> dict[str, Model]:
        return {CHAMPION: self.champion, BEST: self.best}


def compare(candidate: Model, reference: Model) -> Comparison:
    """Compare two models on the split's clips."""
    return subtract_measured(candidate.measured, reference.measured)


def new_registry(params: Params, pairs: int, discordance: float, seed: int) -> Registry:
    """Return a registry whose first champion has the quality QUALITY, and is the best version."""
    split = TestSplit(params, pairs, discordance, seed)
    first = split.draw(QUALITY)
    return Registry(split, params, first, first)


def largest_fall(registry: Registry) -> float:
    """Offer a chain of candidates, each STEP worse than the champion; return how far its quality fell."""
    fall = 0.0
    for _ in range(LENGTH):
        registry.offer(registry.split.draw(registry.champion.quality - STEP))
        fall = max(fall, QUALITY - registry.champion.quality)
    return fall


def refused(registry: Registry, gain: float) -> list[Check]:
    """Offer one candidate that is `gain` better than the champion, and return the failed checks."""
    return registry.offer(registry.split.draw(registry.champion.quality + gain))


def refused_in_chain(registry: Registry) -> float:
    """Offer a chain of candidates that equal the champion, and return the share that was refused."""
    return sum(bool(refused(registry, 0.0)) for _ in range(LENGTH)) / LENGTH


def with_samples(params: Params, samples: int) -> Params:
    """Return the settings with another number of bootstrap samples."""
    return params.model_copy(update={"evaluation": params.evaluation.model_copy(update={"bootstrap_samples": samples})})


def main() -> None:
    """Print the table of error rates."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate_errors", description="Simulate the gate's errors.")
    parser.add_argument("--chains", type=int, default=50, metavar="N", help="registries per cell (default: 50)")
    parser.add_argument("--pairs", type=int, default=395, metavar="N", help="pairs of the test split (default: 395)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first registry (default: 0)")
    args = parser.parse_args()
    params = with_samples(load_params(Path("params.yaml")), SAMPLES)
    print(f"| of two equal trainings, clips that differ | {' | '.join(f'{one:.0%}' for one in DISCORDANCES)} |")
    print("| --- " * (len(DISCORDANCES) + 1) + "|")
    for title, rate in RATES.items():
        cells = []
        for discordance in DISCORDANCES:
            seeds = range(args.seed, args.seed + args.chains)
            registries = (new_registry(params, args.pairs, discordance, seed) for seed in seeds)
            cells.append(np.mean([rate(registry) for registry in registries]))
        print(f"| {title} | {' | '.join(f'{cell:.1%}' for cell in cells)} |", flush=True)


def _falls_more_than(bound: float, registry: Registry) -> float:
    return float(largest_fall(registry) > bound + 1e-9)


def _refused(gain: float, registry: Registry) -> float:
    return float(bool(refused(registry, gain)))


RATES: dict[str, Callable[[Registry], float]] = {
    "a chain of ten, each 1.5 points worse, falls more than 3 points at any time": partial(_falls_more_than, 0.03),
    "an equal model is refused": partial(_refused, 0.0),
    "an equal model is refused, in a chain of ten": refused_in_chain,
    "a model 1.5 points worse passes": lambda registry: 1 - _refused(-STEP, registry),
    "a model 3 points worse passes": lambda registry: 1 - _refused(-2 * STEP, registry),
    "a model 2 points better is refused": partial(_refused, 0.02),
}

if __name__ == "__main__":
    main()
