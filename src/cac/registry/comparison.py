"""Compare challenger and champion on the same clips: the paired difference, and the accuracy on each family."""

from dataclasses import dataclass

from cac.evaluation.intervals import FAMILY_METRIC, Interval, paired_difference, per_family
from cac.params import Params
from cac.registry.predictions import Predictions


@dataclass(frozen=True)
class Comparison:
    """Challenger minus champion.

    Attributes:
        balanced_accuracy: the difference and its 95 % interval over shared resamples of the pairs.
        families: the difference in accuracy on each family's clips and their clean twins.
    """

    balanced_accuracy: Interval
    families: dict[str, float]


def compare(challenger: Predictions, champion: Predictions, params: Params) -> Comparison:
    """Compare predictions on the same clips, with the same resamples.

    Raises:
        ValueError: the clips are not the same.
    """
    if challenger.evaluation_set != champion.evaluation_set:
        raise ValueError("two versions can be compared only on the same clips")
    bins, samples, seed = params.evaluation.calibration_bins, params.evaluation.bootstrap_samples, params.compute.seed
    difference = paired_difference(challenger.facts(bins), champion.facts(bins), samples, seed)
    new, old = family_accuracies(challenger), family_accuracies(champion)
    return Comparison(difference["balanced_accuracy"], {name: new[name] - old[name] for name in new})


def family_accuracies(measured: Predictions) -> dict[str, float]:
    """Return the accuracy on each family that occurs, without intervals (so one resample is enough)."""
    table = per_family(measured.clips, measured.judgements, measured.scores, samples=1, seed=0)
    values = {family: metrics[FAMILY_METRIC]["value"] for family, metrics in table.items()}
    return {family: value for family, value in values.items() if value is not None}
