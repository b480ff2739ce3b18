"""The ablation's table and plot: metrics of each variant over seeds, and the differences to its baseline.

Intervals are Student's t over seeds, so with three seeds they are wide and with one seed there is none. Differences are
paired by seed. One look shows other frames than two, so perfect answers reach less: temporal and spatial IoU are also
given as shares of what they reach.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac.ablation.variants import FULL, VARIANTS
from cac.errors import CacError
from cac.io.aside import new_file

METRICS = (
    "balanced_accuracy",
    "auroc",
    "twin_accuracy",
    "temporal_iou",
    "spatial_iou",
    "family_accuracy",
    "reward",
)
RELATIVE = {name: f"{name} / ceiling" for name in ("temporal_iou", "spatial_iou")}
PLOTTED_METRICS = ("reward", "balanced_accuracy", "temporal_iou", "spatial_iou")
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
        CacError: there is no result, a file is not one, or `out` cannot be written.
    """
    results = read_results(folder)
    with (
        new_file(out / "table.md") as page,
        new_file(out / "table.json") as numbers,
        new_file(out / "table.png") as picture,
    ):
        page.write_text(_markdown(results), encoding="utf-8")
        numbers.write_text(json.dumps(_numbers(results), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        _draw(results, picture)


def read_results(folder: Path) -> Results:
    """Read the files of `run_variant`, in the order of `VARIANTS`.

    Raises:
        CacError: there is no result, or a file is not one.
    """
    found = [_read_result(path) for path in sorted(folder.glob("[!.]*.json"))]
    if not found:
        raise CacError(f"no ablation results in {folder}. Run `make ablate` first.")
    results: Results = {}
    for name in VARIANTS:
        runs = {one["seed"]: one["val"] | _relative(one) for one in found if one["variant"] == name}
        if runs:
            results[name] = runs
    return results


def _read_result(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CacError(f"{path} is no readable JSON: {error}. Remove it, and repeat its run.") from error
    if not isinstance(result, dict) or not {"variant", "seed", "val"} <= result.keys():
        raise CacError(f"{path} is no result of `cac ablate run`. Name the folder of its results alone.")
    return result


def _relative(result: dict[str, Any]) -> dict[str, float | None]:
    """Return the metrics that have a ceiling as shares of it; nothing for a result from before ceilings were kept."""
    return {RELATIVE[name]: share for name, share in result.get("relative_to_ceiling", {}).items()}


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean and its Student's t interval."""
    import numpy as np
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, None)
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Estimate(mean, float(t.ppf((1 + COVERAGE) / 2, len(values) - 1)) * error)


def mean_metric(results: Results, name: str, metric: str) -> Estimate | None:
    """Return the mean of a variant's metric over seeds; None if the metric is undefined."""
    values = [run.get(metric) for run in results[name].values()]
    known = [value for value in values if value is not None]
    return estimate(known) if known else None


def difference(results: Results, name: str, metric: str) -> Estimate | None:
    """Return the mean difference to the variant's baseline, over the seeds both have; None if there is none."""
    known = _differences(results, name, metric)
    return estimate(known) if known and VARIANTS[name].baseline != name else None


def _differences(results: Results, name: str, metric: str) -> list[float]:
    runs, baseline = results[name], results.get(VARIANTS[name].baseline, {})
    pairs = [(runs[seed].get(metric), baseline[seed].get(metric)) for seed in runs if seed in baseline]
    return [value - other for value, other in pairs if value is not None and other is not None]


def _markdown(results: Results) -> str:
    columns = _columns(results)
    head = ["variant", "seeds", *(metric.replace("_", " ") for metric in columns)]
    lines = [_row(head), _row(["---"] * len(head))]
    for name, runs in results.items():
        cells = [mean_metric(results, name, metric) for metric in columns]
        lines.append(_row([VARIANTS[name].title, str(len(runs)), *("–" if c is None else str(c) for c in cells)]))
    lines += ["", "Differences, seed by seed:", "", _row(["variant", "against", *head[2:]])]
    lines.append(_row(["---"] * len(head)))
    for name in results:
        cells = [difference(results, name, metric) for metric in columns]
        if any(cells):
            baseline = VARIANTS[VARIANTS[name].baseline].title
            lines.append(_row([VARIANTS[name].title, baseline, *("–" if c is None else str(c) for c in cells)]))
    return "\n".join(lines) + "\n"


def _columns(results: Results) -> list[str]:
    """Return the metrics to show; shares of the ceiling only if some result has them."""
    known = {metric for runs in results.values() for run in runs.values() for metric in run}
    return [*METRICS, *(name for name in RELATIVE.values() if name in known)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _numbers(results: Results) -> dict[str, object]:
    return {name: {str(seed): run for seed, run in runs.items()} for name, runs in results.items()}


def _draw(results: Results, path: Path) -> None:
    """Plot the difference of each variant to its baseline: a dot a seed, a line for the mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    compared = [name for name in results if VARIANTS[name].baseline in results and VARIANTS[name].baseline != name]
    figure = Figure(figsize=(13, 0.45 * len(compared) + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    rows = list(range(len(compared)))
    for axes, metric in zip(figure.subplots(1, len(PLOTTED_METRICS), sharey=True), PLOTTED_METRICS, strict=True):
        axes.axvline(0.0, color="#999999", linewidth=1)
        for row, name in zip(rows, compared, strict=True):
            values, mean = _differences(results, name, metric), difference(results, name, metric)
            axes.plot(values, [row] * len(values), "o", color="#1f4e8c", markersize=5, alpha=0.7)
            if mean:
                axes.plot([mean.mean, mean.mean], [row - 0.3, row + 0.3], color="#c0392b", linewidth=2)
        axes.set_yticks(rows, [_comparison(name) for name in compared])
        axes.set_xlabel(metric.replace("_", " "))
        axes.locator_params(axis="x", nbins=4)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].invert_yaxis()
    figure.suptitle("What each variant gains or loses on val: a dot a seed, the mean in red")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _comparison(name: str) -> str:
    baseline = VARIANTS[name].baseline
    return (
        VARIANTS[name].title if baseline == FULL else f"{VARIANTS[name].title}\n(against: {VARIANTS[baseline].title})"
    )
