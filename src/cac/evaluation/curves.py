"""The report's charts: training curves, calibration, scores, families and temporal overlap, as PNG files.

Each chart is drawn in a light and a dark theme, to the same bytes every time. Matplotlib's object interface is used
with its Agg canvas, so nothing depends on a display or on pyplot's state. What is charted is computed elsewhere.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cac.errors import CacError
from cac.evaluation.intervals import Interval
from cac.model.calibration import Bin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = list[dict[str, float]]  # one entry a logged step, each with "step"

FAMILY_METRICS = ("recall", "temporal_iou", "spatial_iou", "family_accuracy")
_SMOOTHING = 7  # logged steps a reward curve is averaged over; the raw curve is shown behind it


@dataclass(frozen=True)
class Theme:
    """Colours of a chart; `series` can be distinguished with any colour vision (Okabe and Ito 2008)."""

    name: str
    background: str
    text: str
    grid: str
    series: tuple[str, ...]


_SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
LIGHT = Theme("light", "#ffffff", "#1f2328", "#e3e6ea", _SERIES)
DARK = Theme("dark", "#1b1e24", "#e6e8ec", "#343944", ("#5AA9E6", *_SERIES[1:4], "#9AD1F5", "#FF8A5B"))


def read_history(path: Path) -> History:
    """Read a history file: a JSON list of objects with "step" and floats; other values are skipped.

    Raises:
        CacError: the file is no such list.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CacError(f"{path}: not valid JSON ({error}). Re-run the stage that wrote it.") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "step" in entry for entry in entries):
        raise CacError(f"{path}: not a list of objects with a step. Re-run the stage that wrote it.")
    return [{name: float(v) for name, v in entry.items() if isinstance(v, int | float)} for entry in entries]


def reward_names(history: History) -> list[str]:
    """Return the names under which rewards were logged, sorted: "reward" and "rewards/…", without their spreads."""
    names = {name for entry in history for name in entry}
    return sorted(
        name for name in names if (name == "reward" or name.startswith("rewards/")) and not name.endswith("std")
    )


def loss_chart(name: str, history: History, theme: Theme) -> "Figure":
    """Chart the loss of a stage over its steps."""
    figure, axes = _canvas(theme, (5.2, 3.2))
    _plot_series(axes, history, "loss", theme.series[0], "")
    _label(axes, name, "step", "loss")
    return figure


def reward_chart(name: str, history: History, theme: Theme) -> "Figure":
    """Chart the reward and its components over a stage's steps, smoothed, the raw values pale behind."""
    figure, axes = _canvas(theme, (11, 3.6))
    for number, reward in enumerate(reward_names(history)):
        label = reward.removeprefix("rewards/").removesuffix("/mean").replace("_", " ")
        _plot_series(axes, history, reward, theme.series[number % len(theme.series)], label)
    _label(axes, name, "step", "mean reward")
    _legend(axes, theme, outside=True)
    return figure


def _plot_series(axes: "Axes", history: History, key: str, colour: str, label: str) -> None:
    points = [(entry["step"], entry[key]) for entry in history if key in entry]
    steps, values = np.array(points).reshape(-1, 2).T
    if len(values) < 2 * _SMOOTHING:
        axes.plot(steps, values, color=colour, linewidth=1.8, marker="o", markersize=3, label=label)
        return
    axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.3)
    axes.plot(steps, _smooth(values), color=colour, linewidth=1.8, label=label)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Return the centred moving mean; at the ends over what there is."""
    kernel = np.ones(_SMOOTHING)
    return np.convolve(values, kernel, mode="same") / np.convolve(np.ones(len(values)), kernel, mode="same")


def reliability_chart(bins: Sequence[Bin], theme: Theme) -> "Figure":
    """Chart the share of clean clips against the mean score in each bin; the diagonal is perfect calibration."""
    figure, axes = _canvas(theme, (4.2, 3.6))
    filled = [b for b in bins if b.count]
    scores = np.array([b.mean_score for b in filled], dtype=float)
    shares = np.array([b.clean_share for b in filled], dtype=float)
    axes.plot([0, 1], [0, 1], color=theme.grid, linewidth=1.5, linestyle="--")
    axes.plot(scores, shares, color=theme.series[0], linewidth=1.2)
    total = sum(b.count for b in filled)
    axes.scatter(scores, shares, s=[20 + 400 * b.count / total for b in filled], color=theme.series[0], alpha=0.8)
    _label(axes, "Reliability", "mean score in bin", "share of clean clips")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    return figure


def score_chart(scores: Sequence[float], is_clean: Sequence[bool], theme: Theme) -> "Figure":
    """Chart the scores of clean and of anomalous clips as two histograms."""
    figure, axes = _canvas(theme, (4.2, 3.6))
    groups = [[s for s, clean in zip(scores, is_clean, strict=True) if clean == wanted] for wanted in (True, False)]
    axes.hist(groups, bins=np.linspace(0, 1, 21).tolist(), color=[theme.series[0], theme.series[5]],
              label=["clean clips", "anomalous clips"])  # fmt: skip
    _label(axes, "Scores by class", "score (probability of clean)", "clips")
    _legend(axes, theme)
    return figure


def iou_chart(overlaps: Sequence[float], theme: Theme) -> "Figure":
    """Chart the temporal IoU of the anomalous clips as a histogram."""
    figure, axes = _canvas(theme, (4.2, 3.6))
    axes.hist(overlaps, bins=np.linspace(0, 1, 21).tolist(), color=theme.series[2])
    _label(axes, "Windows against truth", "temporal IoU", "anomalous clips")
    return figure


def family_chart(table: Mapping[str, Mapping[str, Interval]], theme: Theme) -> "Figure":
    """Chart recall, localisation and attribution of each anomaly family as bars with their intervals."""
    figure, axes = _canvas(theme, (11, 3.6))
    places = np.arange(len(table))
    width = 0.8 / len(FAMILY_METRICS)
    for number, metric in enumerate(FAMILY_METRICS):
        rows = [_complete(family[metric]) for family in table.values()]
        value, low, high = np.array(rows).reshape(-1, 3).T
        style = {"ecolor": theme.text, "elinewidth": 1, "capsize": 2}
        axes.bar(places + (number - 1.5) * width, value, width * 0.92, color=theme.series[number],
                 label=metric.replace("_", " "), yerr=[value - low, high - value], error_kw=style)  # fmt: skip
    axes.set_xticks(places, [name.replace("_", " ") for name in table])
    _label(axes, "By anomaly family", "", "")
    axes.set_ylim(0, 1.02)
    _legend(axes, theme, outside=True)
    return figure


def _complete(interval: Interval) -> tuple[float, float, float]:
    """Return value, low and high, NaN (a gap in the chart) where undefined."""
    value, low, high = (np.nan if number is None else number for number in interval.values())
    return value, low, high


def _canvas(theme: Theme, size: tuple[float, float]) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=150, facecolor=theme.background, layout="constrained")
    axes = figure.add_subplot(facecolor=theme.background)
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.text, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(theme.text)
    return figure, axes


def _label(axes: "Axes", title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=11, loc="left", color=axes.xaxis.label.get_color())
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _legend(axes: "Axes", theme: Theme, outside: bool = False) -> None:
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if outside else {"loc": "best"}
    axes.legend(frameon=False, labelcolor=theme.text, fontsize=9, **place)


def save_themed(chart: Callable[[Theme], "Figure"], folder: Path, name: str) -> None:
    """Write `name`-light.png and `name`-dark.png; the same chart gives the same bytes."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for theme in (LIGHT, DARK):
            chart(theme).savefig(folder / f"{name}-{theme.name}.png", format="png", metadata={"Software": None})
