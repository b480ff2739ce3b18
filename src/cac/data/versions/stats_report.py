"""Write a dataset's numbers as JSON and as one picture: splits, families, leaves, generators, and four histograms.

The same numbers give the same bytes: Matplotlib's object interface with its default settings, no display, no time.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from cac.data.versions.stats import PICTURE_NAME, STATS_NAME, Counts, Stats, gather_stats
from cac.errors import CacError
from cac.io.aside import new_file
from cac.schema.annotations import Split, read_clips

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Distinguishable with any colour vision (Okabe and Ito 2008).
_COLOURS = {"train": "#0072B2", "val": "#E69F00", "test": "#009E73", "test_shifted": "#CC79A7", "test_hard": "#D55E00"}
_CLEAN, _ANOMALOUS, _BARS = "#56B4E9", "#D55E00", "#7a8aa0"
_BINS = 24
_MAX_NAMES = 10  # generators with their own bar
_MAX_NAME = 30
_FEWEST_ROWS = 4  # of a bar chart, so that a single bar does not fill it


def draw_stats(stats: Stats, path: Path) -> None:
    """Write the picture as PNG."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(15, 11), dpi=100, layout="constrained")
        axes = figure.subplot_mosaic(
            [["splits", "families", "generators"], ["leaves", "window s", "window %"], ["leaves", "duration", "box"]],
            height_ratios=(1, 1.2, 1.2),
        )
        figure.suptitle(f"{stats.clips} clips in {stats.groups} groups", x=0.01, ha="left", fontsize=14)
        _draw_splits(axes["splits"], stats.splits)
        _draw_names(axes["families"], "families: clips", stats.families)
        _draw_names(axes["leaves"], "leaves: clips", stats.leaves)
        _draw_names(axes["generators"], "generators: clips", most_frequent(stats.generators))
        _draw_numbers(axes["window s"], "windows: seconds", stats.window_seconds)
        _draw_numbers(axes["window %"], "windows: % of the clip", [100 * share for share in stats.window_shares])
        _draw_numbers(axes["duration"], "clips: seconds", stats.durations)
        _draw_numbers(axes["box"], "boxes: % of the frame", [100 * share for share in stats.box_areas])
        patches = [Patch(color=colour, label=split) for split, colour in _COLOURS.items()]
        figure.legend(handles=patches, loc="upper right", ncols=len(patches), frameon=False)
        figure.savefig(path, format="png", metadata={"Software": None})


def most_frequent(counts: Counts) -> Counts:
    """Return the names with the most clips, all others as one."""
    order = sorted(counts, key=lambda name: (-sum(counts[name].values()), name))
    if len(order) <= _MAX_NAMES:
        return {name: counts[name] for name in order}
    others = order[_MAX_NAMES:]
    rest = {split: sum(counts[name][split] for name in others) for split in get_args(Split)}
    return {name: counts[name] for name in order[:_MAX_NAMES]} | {f"{len(others)} others": rest}


def _draw_splits(axes: "Axes", splits: Counts) -> None:
    names = list(splits)
    clean = [splits[name]["clean"] for name in names]
    anomalous = [splits[name]["anomalous"] for name in names]
    axes.barh(names, clean, color=_CLEAN, label="clean")
    axes.barh(names, anomalous, left=clean, color=_ANOMALOUS, label="anomalous")
    _number_bars(axes, [a + b for a, b in zip(clean, anomalous, strict=True)])
    _finish_bars(axes, "splits: clips", len(names))
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def _draw_names(axes: "Axes", title: str, counts: Counts) -> None:
    """Draw a bar a name, its parts the splits."""
    places = list(range(len(counts)))
    left = [0] * len(counts)
    for split, colour in _COLOURS.items():
        values = [by_split[split] for by_split in counts.values()]
        axes.barh(places, values, left=left, color=colour)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set_yticks(places, [_short(name) for name in counts])
    _number_bars(axes, left)
    _finish_bars(axes, title, len(counts))


def _short(name: str) -> str:
    """Return a name that fits beside its bar; a dollar sign would start a formula."""
    cut = name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
    return cut.replace("_", " ").replace("$", r"\$")


def _number_bars(axes: "Axes", totals: Sequence[int]) -> None:
    for place, total in enumerate(totals):
        axes.annotate(str(total), (total, place), (4, 0), textcoords="offset points", va="center", fontsize=8)


def _finish_bars(axes: "Axes", title: str, rows: int) -> None:
    axes.set_ylim(max(rows, _FEWEST_ROWS) - 0.4, -0.6)  # the first on top
    axes.margins(x=0.12)
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)


def _draw_numbers(axes: "Axes", title: str, values: Sequence[float]) -> None:
    """Draw a histogram and its median."""
    import numpy as np

    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    if not values:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color="grey")
        return
    axes.hist(values, bins=_BINS, color=_BARS)
    median = float(np.median(values))
    axes.axvline(median, color="black", linewidth=1, linestyle="--")
    axes.annotate(f"median {median:.3g}", (median, 1), (4, -2), xycoords=("data", "axes fraction"),
                  textcoords="offset points", va="top", fontsize=9)  # fmt: skip


def write_stats(dataset: Path, out: Path) -> Stats:
    """Write `stats.json` and `stats.png` of a dataset to the folder `out`; the same manifest gives the same bytes.

    Raises:
        CacError: the dataset cannot be read or has no clip, or `out` cannot be written.
    """
    clips = read_clips(dataset)
    if not clips:
        raise CacError(f"{dataset} has no clips, so there is nothing to count.")
    stats = gather_stats(clips)
    try:
        with new_file(out / STATS_NAME) as numbers, new_file(out / PICTURE_NAME) as picture:
            numbers.write_text(json.dumps(stats.to_dict(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
            draw_stats(stats, picture)
    except OSError as error:
        raise CacError(f"cannot write to {out}: {error.strerror}. Name another folder with --out.") from error
    return stats
