"""The leak check: can clean and defective clips be distinguished by artefacts, without looking at the content?

Two simple classifiers use only the features of `leak_features.py`. Cross-validation keeps a pair, and all pairs of the
same footage, in one fold: otherwise a clip could be recognised by its scene. Twins without artefacts give an AUROC near
0.5. Out of scope: repairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cac.errors import CacError
from cac.io.progress import track
from cac.schema.annotations import Clip, read_clips
from cac.schema.linked_clips import segment_of

MAX_AUROC = 0.6  # of a dataset that passes
MIN_PAIRS = 10
_FOLDS = 5
_ROUNDS = 5
_RESAMPLES = 1000


@dataclass(frozen=True)
class LeakResult:
    """How well the better of the two classifiers distinguishes the twins.

    Attributes:
        auroc: out of fold, in [0, 1].
        low, high: its 95 % bootstrap interval over groups of pairs.
        classifier: the name of the better one.
        pairs: number of pairs.
        by_leaf: AUROC on the pairs of each leaf; few pairs give a noisy value.
        telling: the most predictive single features, with their AUROC, flipped to at least 0.5.
    """

    auroc: float
    low: float
    high: float
    classifier: str
    pairs: int
    by_leaf: dict[str, float]
    telling: dict[str, float]

    @property
    def passed(self) -> bool:
        """Whether the AUROC is at most `MAX_AUROC`."""
        return self.auroc <= MAX_AUROC


def leak_check(dataset: Path, seed: int = 0) -> LeakResult:
    """Run the check on the pairs of a dataset folder.

    Raises:
        CacError: there are fewer than ten pairs, or a file cannot be decoded.
    """
    pairs = paired(read_clips(dataset))
    if len(pairs) < MIN_PAIRS:
        raise CacError(f"{dataset} has {len(pairs)} pairs; the leak check needs {MIN_PAIRS}. Make more of them.")
    names, values = _features(dataset, pairs)
    labels = np.tile([0, 1], len(pairs))
    groups = np.repeat(footage_groups(pairs), 2)
    best = max(
        ((name, _out_of_fold(model, values, labels, groups, seed)) for name, model in _classifiers(seed).items()),
        key=lambda judged: auroc(labels, judged[1]),
    )
    low, high = _interval(labels, best[1], groups, seed)
    leaves = np.repeat([defective.anomalies[0].leaf for _, defective in pairs], 2)
    by_leaf = {str(leaf): auroc(labels[leaves == leaf], best[1][leaves == leaf]) for leaf in np.unique(leaves)}
    alone = {name: max(value := auroc(labels, values[:, i]), 1 - value) for i, name in enumerate(names)}
    telling = dict(sorted(alone.items(), key=lambda item: -item[1])[:5])
    return LeakResult(auroc(labels, best[1]), low, high, best[0], len(pairs), by_leaf, telling)


def paired(clips: Sequence[Clip]) -> list[tuple[Clip, Clip]]:
    """Return (clean, defective) of every whole pair, in the order of their pair ids."""
    clean = {clip.pair_id: clip for clip in clips if clip.is_clean}
    defective = {clip.pair_id: clip for clip in clips if not clip.is_clean}
    return [(clean[name], defective[name]) for name in sorted(clean.keys() & defective.keys())]


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the chance that a defective clip scores above a clean one, ties counting half."""
    from scipy.stats import rankdata

    positive = labels == 1
    count, others = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - count * (count + 1) / 2) / (count * others))


def _features(dataset: Path, pairs: Sequence[tuple[Clip, Clip]]) -> tuple[list[str], np.ndarray]:
    """Return the names of the features, and their values: a row for each clean clip, followed by that of its twin."""
    from cac.data.injection.leak_features import clip_features

    rows = []
    for clean, defective in track(pairs, "Measuring clips"):
        rows += [clip_features(dataset, clip, defective.anomalies[0]) for clip in (clean, defective)]
    return list(rows[0]), np.array([list(row.values()) for row in rows])


def footage_groups(pairs: Sequence[tuple[Clip, Clip]]) -> np.ndarray:
    """Return a group's number for each pair: pairs of one injected segment, or with the same clean file, share it."""
    numbers: dict[str, int] = {}
    footage = [segment_of(clean.pair_id) or clean.sha256 for clean, _ in pairs]
    return np.array([numbers.setdefault(name, len(numbers)) for name in footage])


def _classifiers(seed: int) -> dict[str, object]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2000)),
        "random forest": RandomForestClassifier(200, min_samples_leaf=3, random_state=seed, n_jobs=1),
    }


def _out_of_fold(model: object, values: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Return each clip's probability of being defective, from models that saw no pair of its group.

    It is the mean over several random assignments of groups to folds, because a single one varies much.
    """
    from sklearn.model_selection import GroupKFold, cross_val_predict

    rounds = []
    for number in range(_ROUNDS):
        folds = GroupKFold(min(_FOLDS, len(np.unique(groups))), shuffle=True, random_state=seed + number)
        rounds.append(cross_val_predict(model, values, labels, groups=groups, cv=folds, method="predict_proba")[:, 1])
    chance: np.ndarray = np.mean(rounds, axis=0)
    return chance


def _interval(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of the AUROC over resampled groups."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    values = []
    for _ in range(_RESAMPLES):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        values.append(auroc(labels[rows], scores[rows]))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
