"""The result over all runs: true anomaly rates before and after training, with intervals, and whether the bars are met.

Intervals are percentile intervals of a two-level bootstrap: seeds are resampled, then prompts within each seed, before
and after together. Three seeds give only a rough measure of the variation, so each seed's value is reported as well.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cac.rl.downstream.evaluation import Columns
from cac.rl.downstream.experiment import WITH_MOTION, Result, select_candidates

SAMPLES = 2000
MEASURED = ("anomalous", "motion", "clean_motion", "things", "pace", "still", "difference")
FALL_BARS = {"rl": 0.30, "best": 0.25}  # relative fall of the true anomaly rate
MOTION_BAR = 0.10  # relative change of the clean twins' motion, either way
_SEED = 20

Pair = tuple[Columns, Columns]  # before and after


def summarise(results: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
    """Return the summary of runs by arm, JSON-ready.

    Each comparison has "before" and "after" (means), "fall" (relative, of the true anomaly rate), "motion_change"
    (relative, of the clips) and "clean_motion_change" (of the clips' clean twins: vanishing and
    jumping things have no flow, so a generator that unlearns them seems to move more). The last three have value, low,
    high and the value of each seed.
    """
    compared = {
        ("rl" if arm == WITH_MOTION else arm): _compare([_columns(result) for result in runs])
        for arm, runs in results.items()
        if runs
    }
    with_best = [result for result in results.get(WITH_MOTION, []) if result["best"]]
    if with_best:
        pairs = [
            (before, select_candidates(before, result["best"]))
            for result in with_best
            for before, _ in [_columns(result)]
        ]
        compared["best"] = _compare(pairs)
    return {"comparisons": compared, "bars": _bars(compared)}


def _columns(result: Result) -> Pair:
    return result["before"]["columns"], result["after"]["columns"]


def _compare(pairs: Sequence[Pair]) -> dict[str, Any]:
    return {
        "seeds": len(pairs),
        "before": {name: _mean(_by_prompt(pairs, name)[0]) for name in MEASURED},
        "after": {name: _mean(_by_prompt(pairs, name)[1]) for name in MEASURED},
        "fall": _interval(_by_prompt(pairs, "anomalous"), lambda before, after: -_relative_change(before, after)),
        "motion_change": _interval(_by_prompt(pairs, "motion"), _relative_change),
        "clean_motion_change": _interval(_by_prompt(pairs, "clean_motion"), _relative_change),
    }


def _by_prompt(pairs: Sequence[Pair], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a measure's means before and after, each (seeds, prompts)."""
    before, after = (np.array([[np.mean(row) for row in pair[i][name]] for pair in pairs]) for i in (0, 1))
    return before, after


def _relative_change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    result: np.ndarray = after / before - 1
    return result


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 6)


def _interval(values: Sequence[np.ndarray], statistic: Callable[..., np.ndarray]) -> dict[str, Any]:
    """Return a statistic of the means of some measures, (seeds, prompts) each, its 95 % interval, and each seed's."""
    rng = np.random.default_rng(_SEED)
    seeds, prompts = values[0].shape
    rows = rng.integers(seeds, size=(SAMPLES, seeds, 1))
    columns = rng.integers(prompts, size=(SAMPLES, seeds, prompts))
    resampled = statistic(*(each[rows, columns].mean(axis=(1, 2)) for each in values))
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {
        "value": round(float(statistic(*(each.mean() for each in values))), 6),
        "low": round(float(low), 6),
        "high": round(float(high), 6),
        "by_seed": [round(float(v), 6) for v in statistic(*(each.mean(axis=1) for each in values))],
    }


def _bars(compared: Mapping[str, Any]) -> dict[str, bool]:
    """Check the falls and the motion against the bars; the interval of a fall must also exclude zero."""
    bars = {}
    for name, bar in FALL_BARS.items():
        if name in compared:
            fall, change = compared[name]["fall"], compared[name]["clean_motion_change"]
            bars[f"{name}_fall"] = fall["value"] >= bar and fall["low"] > 0
            bars[f"{name}_motion"] = abs(change["value"]) <= MOTION_BAR
    return bars


_ROWS = {
    "rl": "trained, with the motion term",
    "best": "untrained, best of N",
    "no_motion": "trained, without the motion term",
}


def table(summary: Mapping[str, Any]) -> str:
    """Return the summary as a Markdown table."""
    compared = summary["comparisons"]
    lines = [
        "| generator | seeds | truly anomalous | fall [95 %] | motion [95 %] | of clean twins "
        "| things | pace | still | difference |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    first = compared.get("rl") or next(iter(compared.values()))
    lines.append(_row("untrained", first["seeds"], first["before"], "", "", ""))
    for name, title in _ROWS.items():
        if name in compared:
            one = compared[name]
            fall = f"{_percent(one['fall'])}; by seed {', '.join(f'{v:.0%}' for v in one['fall']['by_seed'])}"
            moved, clean = _percent(one["motion_change"]), _percent(one["clean_motion_change"])
            lines.append(_row(title, one["seeds"], one["after"], fall, moved, clean))
    return "\n".join(lines) + "\n"


def _row(title: str, seeds: int, mean: Mapping[str, float], fall: str, moved: str, clean: str) -> str:
    change = f" ({moved})" if moved else ""
    shares = " | ".join(f"{mean[name]:.2f}" for name in ("things", "pace", "still"))
    rate, motion = f"{mean['anomalous']:.3f}", f"{mean['motion']:.4f}{change}"
    return f"| {title} | {seeds} | {rate} | {fall} | {motion} | {clean} | {shares} | {mean['difference']:.3f} |"


def _percent(interval: Mapping[str, float]) -> str:
    return f"{interval['value']:.0%} [{interval['low']:.0%}, {interval['high']:.0%}]"
