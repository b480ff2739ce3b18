"""Compare two versions on the same clips: paired differences of metrics, and the accuracy on each family."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cac.evaluation.facts import Facts
from cac.evaluation.intervals import Interval, Resampled, resample, subtract
from cac.params import MaxWorsening, Params
from cac.registry.predictions import Predictions
from cac.schema.annotations import Clip
from cac.schema.taxonomy import Family

COMPARED = tuple(MaxWorsening.model_fields)  # the metrics that versions are compared by; all are keys of METRICS


@dataclass(frozen=True)
class Comparison:
    """Candidate minus reference.

    Attributes:
        metrics: the difference of each metric in COMPARED, and its 95 % interval over shared resamples of the clips.
        families: the difference in accuracy on each family's clips and their clean twins.
    """

    metrics: dict[str, Interval]
    families: dict[str, float]


@dataclass(frozen=True)
class Measured:
    """What one version's side of a comparison needs: the metrics in COMPARED, resampled, and each family's accuracy."""

    metrics: Resampled
    families: dict[str, float]


def compare(candidate: Predictions, reference: Predictions, params: Params) -> Comparison:
    """Compare predictions on the same clips, with the same resamples.

    Raises:
        ValueError: the clips are not the same.
    """
    if candidate.evaluation_set != reference.evaluation_set:
        raise ValueError("two versions can be compared only on the same clips")
    bins, families = params.evaluation.calibration_bins, family_members(candidate.clips)
    new, old = (measure(predictions.facts(bins), families, params) for predictions in (candidate, reference))
    return subtract_measured(new, old)


def measure(facts: Facts, families: Mapping[str, np.ndarray], params: Params) -> Measured:
    """Measure one version's facts; `families` holds the clips of each family, bools of shape (clips,)."""
    right = facts.flagged == facts.anomalous
    accuracy = {name: float(right[inside].mean()) for name, inside in families.items()}
    return Measured(resample(facts, params.evaluation.bootstrap_samples, params.compute.seed, COMPARED), accuracy)


def subtract_measured(candidate: Measured, reference: Measured) -> Comparison:
    """Return candidate minus reference, both measured on the same clips with the same settings."""
    families = {name: value - reference.families[name] for name, value in candidate.families.items()}
    return Comparison(subtract(candidate.metrics, reference.metrics), families)


def family_members(clips: tuple[Clip, ...]) -> dict[str, np.ndarray]:
    """Return which clips belong to each family that occurs: its anomalous clips and their clean twins."""
    members = {}
    for family in Family:
        affected = np.array([family in {anomaly.family for anomaly in clip.anomalies} for clip in clips])
        pairs = {clip.pair_id for clip, inside in zip(clips, affected, strict=True) if inside}
        twins = np.array([clip.is_clean and clip.pair_id in pairs for clip in clips])
        if affected.any():
            members[str(family)] = affected | twins
    return members
