"""What the runs say together: true anomaly rates before and after, with intervals, and whether the bars are reached.

Intervals are percentile intervals of a bootstrap in two levels: seeds are drawn with replacement, then prompts within
each, before and after together. With three seeds that is a rough measure of how runs differ, so every seed's own value
stands beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cac.rl.downstream.experiment import WITH_MOTION, Result, picked
from cac.rl.downstream.measure import Columns

SAMPLES = 2000
MEASURED = ("anomalous", "motion", "things", "pace", "still", "difference")
FALL_BARS = {"rl": 0.30, "best": 0.25}  # relative fall of the true anomaly rate
MOTION_BAR = 0.10  # relative change of motion, either way
_SEED = 20

Pair = tuple[Columns, Columns]  # before and after


def summarise(results: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
    """Return the summary of runs by arm, JSON-ready.

    Each comparison has "before" and "after" (means), "fall" (relative, of the true anomaly rate), "motion_change"
    (relative, of all clips) and "sound_motion_change" (of those that move and have no anomaly, for clips that stand
    still, and things that vanish, lower the mean of all; None if there are none in a seed), the last three with value,
    low, high and the seeds' values.
    """
    compared = {
        ("rl" if arm == WITH_MOTION else arm): _compare([_columns(result) for result in runs])
        for arm, runs in results.items()
        if runs
    }
    with_best = [result for result in results.get(WITH_MOTION, []) if result["best"]]
    if with_best:
        pairs = [(before, picked(before, result["best"])) for result in with_best for before, _ in [_columns(result)]]
        compared["best"] = _compare(pairs)
    return {"comparisons": compared, "bars": _bars(compared)}


def _columns(result: Result) -> Pair:
    return result["before"]["columns"], result["after"]["columns"]


def _compare(pairs: Sequence[Pair]) -> dict[str, Any]:
    rates, moved = _by_prompt(pairs, "anomalous"), _by_prompt(pairs, "motion")
    return {
        "seeds": len(pairs),
        "before": {name: _mean(_by_prompt(pairs, name)[0]) for name in MEASURED},
        "after": {name: _mean(_by_prompt(pairs, name)[1]) for name in MEASURED},
        "fall": _interval(rates, lambda before, after: 1 - after / before),
        "motion_change": _interval(moved, lambda before, after: after / before - 1),
        "sound_motion_change": _sound_motion_change(pairs),
    }


def _by_prompt(pairs: Sequence[Pair], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a measure's means before and after, each (seeds, prompts)."""
    before, after = (np.array([[np.mean(row) for row in pair[i][name]] for pair in pairs]) for i in (0, 1))
    return before, after


def _sound_motion_change(pairs: Sequence[Pair]) -> dict[str, Any] | None:
    before, after = (_sound_motion([pair[i] for pair in pairs]) for i in (0, 1))
    if not min(number.sum(axis=1).min() for _, number in (before, after)):
        return None
    return _interval((*before, *after), lambda moved, number, later, count: (later / count) / (moved / number) - 1)


def _sound_motion(columns: Sequence[Columns]) -> tuple[np.ndarray, np.ndarray]:
    """Return, each (seeds, prompts), the motion of clips that move and have no anomaly, summed up, and their number."""
    motions, anomalous, still = (np.array([one[name] for one in columns]) for name in ("motion", "anomalous", "still"))
    counted = (anomalous == 0) & (still == 0)
    return (motions * counted).sum(axis=-1), counted.sum(axis=-1).astype(float)


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
    """Hold the falls and the motion against the bars; a fall's interval must exclude zero, too.

    Motion is held against its bar twice. That of all clips rises by itself as what stands still or vanishes goes; that
    of the sound clips that move says whether the generator makes such a clip move as it did.
    """
    bars = {}
    for name, bar in FALL_BARS.items():
        if name in compared:
            fall, moved = compared[name]["fall"], compared[name]["motion_change"]
            sound = compared[name]["sound_motion_change"]
            bars[f"{name}_fall"] = fall["value"] >= bar and fall["low"] > 0
            bars[f"{name}_motion"] = abs(moved["value"]) <= MOTION_BAR
            bars[f"{name}_sound_motion"] = sound is not None and abs(sound["value"]) <= MOTION_BAR
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
        "| generator | seeds | truly anomalous | fall [95 %] | motion [95 %] | of sound, moving clips "
        "| things | pace | still | difference |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    first = compared.get("rl") or next(iter(compared.values()))
    lines.append(_row("untrained", first["seeds"], first["before"], "", "", ""))
    for name, title in _ROWS.items():
        if name in compared:
            one = compared[name]
            fall = f"{_percent(one['fall'])}; by seed {', '.join(f'{v:.0%}' for v in one['fall']['by_seed'])}"
            moved, sound = _percent(one["motion_change"]), _percent(one["sound_motion_change"])
            lines.append(_row(title, one["seeds"], one["after"], fall, moved, sound))
    return "\n".join(lines) + "\n"


def _row(title: str, seeds: int, mean: Mapping[str, float], fall: str, moved: str, sound: str) -> str:
    change = f" ({moved})" if moved else ""
    shares = " | ".join(f"{mean[name]:.2f}" for name in ("things", "pace", "still"))
    rate, motion = f"{mean['anomalous']:.3f}", f"{mean['motion']:.4f}{change}"
    return f"| {title} | {seeds} | {rate} | {fall} | {motion} | {sound} | {shares} | {mean['difference']:.3f} |"


def _percent(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return "–"
    return f"{interval['value']:.0%} [{interval['low']:.0%}, {interval['high']:.0%}]"
