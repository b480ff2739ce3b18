"""Metrics of yes/no questions: our verdict against the benchmark's truth.

An answer that could not be parsed counts as wrong, whatever the truth. Where fakes share a group with a real clip, as
in ViF-Bench, each generator's fakes are compared with their real clips, and the mean over generators is given, too. Out
of scope: when and where (`located.py`).
"""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from cac.evaluation.benchmarks.bootstrap import interval_of, resampled_weights
from cac.evaluation.benchmarks.judged_file import Judged
from cac.evaluation.benchmarks.questions import YesNo
from cac.evaluation.benchmarks.results import Result
from cac.evaluation.facts import Facts
from cac.evaluation.metrics import METRICS

NAMES = ("balanced_accuracy", "accuracy", "recall", "specificity", "f1", "auroc", "twin_accuracy", "parse_rate")
MEAN = "mean over subsets"
_MEAN_NAMES = ("balanced_accuracy", "recall", "f1")

Answered = Sequence[tuple[YesNo, Judged]]


def verdict_results(answered: Answered) -> list[Result]:
    """Return the metrics of one task, of each subset, and the mean over subsets that share real clips."""
    facts, weights = verdict_facts(answered), _weights(answered)
    task = answered[0][0].task
    results = [_result(task, None, facts, weights, np.ones(len(answered), dtype=bool))]
    masks = _subsets(answered)
    results += [_result(task, subset, facts, weights, mask) for subset, mask in masks.items()]
    if masks and _is_paired(answered):
        results.append(_mean(task, facts, weights, list(masks.values())))
    return results


def is_flagged(judged: Judged, truth: bool) -> bool:
    """Whether the answer is "anomalous"; one that was not parsed is the opposite of the truth."""
    return judged.judgement.verdict == "anomalous" if judged.judgement.parsed else not truth


def verdict_facts(answered: Answered) -> Facts:
    """Return the facts that a yes/no truth allows; the others are NaN."""
    columns = {field.name: np.full(len(answered), np.nan) for field in fields(Facts)}
    groups = np.unique([question.group for question, _ in answered], return_inverse=True)[1].astype(float)
    anomalous = np.array([question.anomalous for question, _ in answered], dtype=float)
    score = np.array([judged.score for _, judged in answered])
    columns |= {
        "pair": groups,
        "group": groups,
        "anomalous": anomalous,
        "flagged": np.array([is_flagged(judged, question.anomalous) for question, judged in answered], dtype=float),
        "score": score,
        "twin": _twin_wins(groups, anomalous, score),
        "parsed": np.array([judged.judgement.parsed for _, judged in answered], dtype=float),
    }
    return Facts(**columns)


def _twin_wins(groups: np.ndarray, anomalous: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return for each anomalous clip the share of the clean clips of its group that score above it, ties 0.5."""
    wins = np.full(len(groups), np.nan)
    for index in np.flatnonzero(anomalous):
        twins = score[(groups == groups[index]) & (anomalous == 0)]
        if len(twins):
            wins[index] = np.mean((twins > score[index]) + 0.5 * (twins == score[index]))
    return wins


def _weights(answered: Answered) -> np.ndarray:
    return resampled_weights([one.group for one, _ in answered], [one.anomalous for one, _ in answered])


def _is_paired(answered: Answered) -> bool:
    """Whether the clean clips belong to no subset, but to the anomalous clips of their groups."""
    clean = [question for question, _ in answered if not question.anomalous]
    return bool(clean) and all(question.subset is None for question in clean)


def _subsets(answered: Answered) -> dict[str, np.ndarray]:
    """Return which questions belong to each subset; paired clean clips to those of their groups, if there are any."""
    questions, paired = [question for question, _ in answered], _is_paired(answered)
    real = {question.group for question in questions if not question.anomalous}
    masks = {}
    for subset in sorted({question.subset for question in questions if question.subset is not None}):
        inside = {one.group for one in questions if one.subset == subset} & real
        chosen = [
            one.group in inside and one.subset in (subset, None) if paired else one.subset == subset
            for one in questions
        ]
        masks[subset] = np.array(chosen)
    return {subset: mask for subset, mask in masks.items() if mask.any()}


def _result(task: str, subset: str | None, facts: Facts, weights: np.ndarray, mask: np.ndarray) -> Result:
    values = {name: interval_of(METRICS[name](facts, weights * mask)) for name in NAMES}
    return Result(
        task, subset, int(mask.sum()), {name: one for name, one in values.items() if one["value"] is not None}
    )


def _mean(task: str, facts: Facts, weights: np.ndarray, masks: Sequence[np.ndarray]) -> Result:
    """Return the mean of the subsets' metrics, as ViF-Bench averages over generators."""
    values = {name: np.mean([METRICS[name](facts, weights * mask) for mask in masks], axis=0) for name in _MEAN_NAMES}
    questions = int(np.any(masks, axis=0).sum())
    return Result(task, MEAN, questions, {name: interval_of(value) for name, value in values.items()})
