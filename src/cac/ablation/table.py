"""The ablation's table and picture: each variant's metrics over seeds, and what it loses against the full method.

Intervals are Student's t over seeds, which is honest about how few they are: with three seeds they are wide. With one
seed there is none. Differences are taken seed by seed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cac.ablation.variants import VARIANTS
from cac.errors import CacError

METRICS = (
    "balanced_accuracy",
    "auroc",
    "twin_accuracy",
    "temporal_iou",
    "spatial_iou",
    "family_accuracy",
    "reward",
)
COVERAGE = 0.95

Results = dict[str, dict[int, dict[str, float | None]]]  # variant -> seed -> metric -> value


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and the half-width of its 95 % interval (None with one seed)."""

    mean: float
    half_width: float | None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.half_width is None else f"{self.mean:.3f} ± {self.half_width:.3f}"


def write_table(folder: Path, out: Path) -> None:
    """Write `table.md`, `table.json` and `table.png` of all results in a folder.

    Raises:
        CacError: there is no result.
    """
    results = read_results(folder)
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(_markdown(results), encoding="utf-8")
    (out / "table.json").write_text(json.dumps(_numbers(results), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    _draw(results, out / "table.png")


def read_results(folder: Path) -> Results:
    """Read what `run_variant` wrote, in the order of the variants."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise CacError(f"no ablation results in {folder}. Run `make ablate` first.")
    results: Results = {}
    for name in VARIANTS:
        runs = {one["seed"]: one["val"] for one in found if one["variant"] == name}
        if runs:
            results[name] = runs
    return results


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean and its Student's t interval."""
    import numpy as np
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, None)
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Estimate(mean, float(t.ppf((1 + COVERAGE) / 2, len(values) - 1)) * error)


def level(results: Results, name: str, metric: str) -> Estimate | None:
    """Return a variant's metric over its seeds; None where it is undefined."""
    values = [run[metric] for run in results[name].values()]
    known = [value for value in values if value is not None]
    return estimate(known) if known else None


def difference(results: Results, name: str, metric: str) -> Estimate | None:
    """Return a variant's metric less that of the variant it is compared with, over the seeds both have."""
    runs, others = results[name], results.get(VARIANTS[name].against, {})
    pairs = [(runs[seed][metric], others[seed][metric]) for seed in runs if seed in others]
    known = [mine - other for mine, other in pairs if mine is not None and other is not None]
    return estimate(known) if known and VARIANTS[name].against != name else None


def _markdown(results: Results) -> str:
    head = ["variant", "seeds", *(metric.replace("_", " ") for metric in METRICS)]
    lines = [_row(head), _row(["---"] * len(head))]
    for name, runs in results.items():
        cells = [level(results, name, metric) for metric in METRICS]
        lines.append(_row([VARIANTS[name].title, str(len(runs)), *("–" if c is None else str(c) for c in cells)]))
    lines += ["", "Differences, seed by seed:", "", _row(["variant", "against", *head[2:]])]
    lines.append(_row(["---"] * (len(METRICS) + 2)))
    for name in results:
        cells = [difference(results, name, metric) for metric in METRICS]
        if any(cells):
            against = VARIANTS[VARIANTS[name].against].title
            lines.append(_row([VARIANTS[name].title, against, *("–" if c is None else str(c) for c in cells)]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _numbers(results: Results) -> dict[str, object]:
    return {name: {str(seed): run for seed, run in runs.items()} for name, runs in results.items()}


def _draw(results: Results, path: Path) -> None:
    """Draw balanced accuracy and reward of every variant: a dot a seed, a bar for the mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.5 * len(results) + 1.4), layout="constrained")
    FigureCanvasAgg(figure)
    places = range(len(results))
    for axes, metric in zip(figure.subplots(1, 2, sharey=True), ("balanced_accuracy", "reward"), strict=True):
        for place, (name, runs) in zip(places, results.items(), strict=True):
            values = [run[metric] for run in runs.values() if run[metric] is not None]
            mean = level(results, name, metric)
            axes.barh(place, mean.mean if mean else 0.0, color="#c9d7ea")
            axes.plot(values, [place] * len(values), "o", color="#1f4e8c", markersize=5)
        axes.set_yticks(list(places), [VARIANTS[name].title for name in results])
        axes.set_xlabel(f"{metric.replace('_', ' ')} on val")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].invert_yaxis()
    figure.savefig(path, dpi=120, metadata={"Software": None})
