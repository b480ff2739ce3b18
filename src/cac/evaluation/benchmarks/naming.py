"""Metrics of naming questions: which of several kinds of artefact a clip shows.

Our judgement names one leaf, and with it every option that the label map gives this leaf. Artifact-Bench counts an
answer as right if it names exactly the right options (`exact_match`). `reachable` is the share of questions that one
leaf can answer exactly: no score of ours can be higher. `hit` counts an answer as right if it names a right option and
no wrong one. A clip judged clean, and an answer that could not be parsed, name nothing and are wrong.
"""

from collections.abc import Sequence

import numpy as np

from cac.evaluation.benchmarks.bootstrap import interval_of, resampled_weights, weighted_mean
from cac.evaluation.benchmarks.judged_file import Judged
from cac.evaluation.benchmarks.questions import Naming, Option
from cac.evaluation.benchmarks.results import Result

AnsweredNaming = Sequence[tuple[Naming, Judged]]


def naming_results(answered: AnsweredNaming) -> list[Result]:
    """Return the metrics of one task, over all questions and over each subset."""
    subsets = [None, *sorted({question.subset for question, _ in answered if question.subset is not None})]
    return [_result(subset, [one for one in answered if subset in (None, one[0].subset)]) for subset in subsets]


def named_options(question: Naming, judged: Judged) -> list[Option]:
    """Return the options that a judgement names."""
    judgement = judged.judgement
    leaf = judgement.leaf if judgement.parsed and judgement.verdict == "anomalous" else None
    return _options_of(question, leaf)


def is_exact(question: Naming, named: Sequence[Option]) -> bool:
    """Whether exactly the right options are named."""
    return list(named) == [option for option in question.options if option.is_right]


def _options_of(question: Naming, leaf: str | None) -> list[Option]:
    return [] if leaf is None else [option for option in question.options if option.leaf == leaf]


def _is_reachable(question: Naming) -> bool:
    return any(is_exact(question, _options_of(question, option.leaf)) for option in question.options)


def _result(subset: str | None, answered: AnsweredNaming) -> Result:
    weights = resampled_weights([question.group for question, _ in answered])
    named = [named_options(question, judged) for question, judged in answered]
    columns = {
        "exact_match": [is_exact(question, options) for (question, _), options in zip(answered, named, strict=True)],
        "reachable": [_is_reachable(question) for question, _ in answered],
        "hit": [bool(options) and all(option.is_right for option in options) for options in named],
        "answered": [bool(options) for options in named],
    }
    means = {name: weighted_mean(np.array(values, dtype=float), weights) for name, values in columns.items()}
    return Result(
        answered[0][0].task, subset, len(answered), {name: interval_of(values) for name, values in means.items()}
    )
