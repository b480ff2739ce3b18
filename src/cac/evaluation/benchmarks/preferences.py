"""Accuracy on preference pairs, as VideoGen-RewardBench defines it: the score of the first minus that of the second.

Without ties: over the pairs that people do not call a tie, the share in which the better one has the higher score;
equal scores are wrong. With ties: over all pairs, where a difference of at most a threshold is a tie; the threshold is
the best one for these pairs (Deutsch et al. 2023, arXiv 2305.14324), so the figure flatters the model a little.
Thresholds are the differences that occur, as in the benchmark's code; equal differences are on one side, where its code
would cut between them. The interval searches the threshold anew in each sample.
"""

from collections.abc import Sequence

import numpy as np

from cac.evaluation.benchmarks.bootstrap import interval_of, resampled_weights, weighted_mean
from cac.evaluation.benchmarks.judged_file import Judged
from cac.evaluation.benchmarks.questions import Pair
from cac.evaluation.benchmarks.results import Result

_ROWS = 50  # bootstrap samples at a time, for memory

AnsweredPairs = Sequence[tuple[Pair, Judged, Judged]]


def preference_results(answered: AnsweredPairs) -> list[Result]:
    """Return the metrics in each respect, over all pairs and over each subset."""
    respects = dict.fromkeys(name for pair, *_ in answered for name in pair.preferences)
    subsets = [None, *sorted({pair.subset for pair, *_ in answered if pair.subset is not None})]
    results = []
    for respect in respects:
        for subset in subsets:
            chosen = [one for one in answered if respect in one[0].preferences and subset in (None, one[0].subset)]
            if chosen:
                results.append(_result(respect, subset, chosen))
    return results


def _result(respect: str, subset: str | None, answered: AnsweredPairs) -> Result:
    people = np.array([pair.preferences[respect] for pair, *_ in answered])
    model = np.array([first.score - second.score for _, first, second in answered])
    weights = resampled_weights([pair.group for pair, *_ in answered])
    metrics = {"accuracy_without_ties": interval_of(accuracy_without_ties(people, model, weights))}
    if (people == 0).any():
        metrics["accuracy_with_ties"] = interval_of(accuracy_with_ties(people, model, weights))
    return Result(respect, subset, len(answered), metrics)


def accuracy_without_ties(people: np.ndarray, model: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of right pairs among those that people do not call a tie.

    Args:
        people: 1 if the first is better, -1 if the second is, 0 for a tie; shape (pairs,).
        model: differences of scores, shape (pairs,).
        weights: how often each pair counts, shape (samples, pairs).
    """
    return weighted_mean((people * model > 0).astype(float), weights * (people != 0))


def accuracy_with_ties(people: np.ndarray, model: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of right pairs with the best threshold of a tie, for each row of `weights`.

    Args and result are as of `accuracy_without_ties`.
    """
    order = np.argsort(np.abs(model), kind="stable")
    size, tied, apart = np.abs(model)[order], (people == 0)[order], (people * model > 0)[order]
    ends = np.flatnonzero(np.diff(size, append=np.inf))  # the last pair of each difference: a threshold
    parts = [weights[start : start + _ROWS, order] for start in range(0, len(weights), _ROWS)]
    return np.concatenate([_best(part, tied, apart, ends) for part in parts])


def _best(weights: np.ndarray, tied: np.ndarray, apart: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the best share of right pairs, where those up to an end are called ties and those after it are not."""
    called_ties = np.cumsum(weights * tied, axis=1)[:, ends]
    in_order = np.cumsum(weights * apart, axis=1)
    right = called_ties + in_order[:, -1:] - in_order[:, ends]
    best: np.ndarray = right.max(axis=1) / weights.sum(axis=1)
    return best
