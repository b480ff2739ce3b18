"""A drift check as one picture: the distance of each measure, and its values before and now.

The same clips give the same bytes: it uses Matplotlib's object interface with default settings, and no time stamps.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.monitoring.clips import ScoredClip
from cac.monitoring.drift import CATEGORIES, NUMBERS, DriftResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cac.monitoring.report import DriftReport

# Distinguishable with any colour vision (Okabe and Ito 2008).
_BEFORE, _NOW, _DRIFTED, _QUIET = "#56B4E9", "#D55E00", "#D55E00", "#7a8aa0"
_TITLES = {
    "score": "score: probability of clean",
    "window_seconds": "window length of flagged clips: seconds",
    "duration": "duration of clips: seconds",
    "motion": "motion: frame diagonals per second",
    "flagged": "verdict: share of clips",
    "family": "families: share of flagged clips",
    "answers": "answers: share of clips",
}
_BINS = 20


def draw(report: "DriftReport", reference: Sequence[ScoredClip], recent: Sequence[ScoredClip], path: Path) -> None:
    """Write the picture as PNG."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(16, 8.5), dpi=100, layout="constrained")
        axes = figure.subplot_mosaic(
            [["distance", "score", "flagged", "family"], ["answers", "window_seconds", "duration", "motion"]]
        )
        drifted = f"drifted in {', '.join(report.drifted)}" if report.drifted else "no drift"
        title = f"{report.source}: {drifted}\n{report.model} on {report.clips} clips, compared with {report.reference}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=13)
        _draw_distances(axes["distance"], report.measures)
        for one in report.measures:
            if one.measure in NUMBERS:
                take = NUMBERS[one.measure]
                _draw_numbers(axes[one.measure], one, take(reference), take(recent))
            else:
                _draw_shares(axes[one.measure], one)
        patches = [Patch(color=_BEFORE, label="reference"), Patch(color=_NOW, label="recent")]
        figure.legend(handles=patches, loc="upper right", ncols=2, frameon=False)
        figure.savefig(path, format="png", metadata={"Software": None})


def _draw_distances(axes: "Axes", measures: Sequence[DriftResult]) -> None:
    """Draw the distance of each measure, the first one on top."""
    rows = range(len(measures))
    colours = [_DRIFTED if one.drifted else _QUIET for one in measures]
    axes.barh(rows, [one.distance or 0.0 for one in measures], color=colours)
    for row, one in zip(rows, measures, strict=True):
        label = "too few values" if one.distance is None else f"{one.distance:.2f}, {_p(one.p_value)}"
        axes.text((one.distance or 0.0) + 0.02, row, label, va="center", fontsize=9)
    axes.set_yticks(rows, [one.measure for one in measures])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.45)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    _finish(axes, "distance from the reference")


def _p(value: float | None) -> str:
    return "" if value is None else "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _draw_numbers(axes: "Axes", one: DriftResult, before: Sequence[float], now: Sequence[float]) -> None:
    import numpy as np

    values = [*before, *now]
    if values:
        edges = np.histogram_bin_edges(values, bins=_BINS, range=(0, 1) if one.measure == "score" else None).tolist()
        _draw_histogram(axes, before, edges, {"histtype": "stepfilled", "color": _BEFORE})
        _draw_histogram(axes, now, edges, {"histtype": "step", "color": _NOW, "linewidth": 2})
    else:
        axes.text(0.5, 0.5, "no values", ha="center", transform=axes.transAxes)
    _finish(axes, _TITLES[one.measure])


def _draw_histogram(axes: "Axes", numbers: Sequence[float], edges: Sequence[float], style: dict[str, Any]) -> None:
    if numbers:
        axes.hist(numbers, bins=list(edges), weights=[1 / len(numbers)] * len(numbers), **style)


def _draw_shares(axes: "Axes", one: DriftResult) -> None:
    names = CATEGORIES[one.measure]
    positions = range(len(names))
    for shares, colour, shift in ((one.before, _BEFORE, -0.2), (one.after, _NOW, 0.2)):
        heights = [shares[name] if isinstance(shares, dict) else 0.0 for name in names]
        axes.bar([position + shift for position in positions], heights, width=0.4, color=colour)
    axes.set_xticks(positions, [name.replace("_", "\n").replace(" ", "\n") for name in names], fontsize=8)
    axes.set_ylim(0, 1)
    _finish(axes, _TITLES[one.measure])


def _finish(axes: "Axes", title: str) -> None:
    axes.set_title(title, fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
