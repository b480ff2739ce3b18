"""Progress of a training stage: lines on the console, a history for DVC, metrics for MLflow."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback

# Times and counters: they differ between runs or carry no information.
_EXCLUDED = ("runtime", "per_second", "total_flos", "epoch", "num_tokens", "step_time", "profiling", "entropy/")


def deterministic_metrics(logs: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of one log entry that depend on the inputs only, rounded to 6 decimals."""
    numbers = {key: value for key, value in logs.items() if isinstance(value, int | float) and key != "step"}
    metrics = {key: float(v) for key, v in numbers.items() if not any(part in key for part in _EXCLUDED)}
    return {key: round(value, 6) for key, value in metrics.items() if math.isfinite(value)}


def write_history(log_history: list[dict[str, Any]], out: Path) -> None:
    """Write a trainer's log history as a JSON list, a row per logged step; equal training gives equal bytes."""
    rows = [
        {"step": line["step"], **deterministic_metrics(line)} for line in log_history if "train_runtime" not in line
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row, sort_keys=True) for row in rows)
    out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


class ProgressCallback(TrainerCallback):
    """Prints a line and forwards the metrics each time the trainer logs."""

    def __init__(self, stage: str, displayed: tuple[str, ...], log: Callable[[dict[str, float], int], None]) -> None:
        self.stage = stage
        self.displayed = displayed
        self.log = log
        self._start: tuple[float, int] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the time and the step at which this run starts."""
        self._start = (time.monotonic(), state.global_step)
        if state.global_step and state.is_world_process_zero:
            print(f"{self.stage}: resuming at step {state.global_step}", flush=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Print and forward one log entry."""
        metrics = deterministic_metrics(logs or {})
        if not metrics or "train_runtime" in (logs or {}) or not state.is_world_process_zero:
            return
        self.log(metrics, state.global_step)
        shown = "  ".join(f"{_short(name)} {metrics[name]:.3g}" for name in self.displayed if name in metrics)
        print(f"{self.stage}  {state.global_step}/{state.max_steps}  {shown}  {self._remaining(state)}", flush=True)

    def _remaining(self, state: Any) -> str:
        start, first = self._start or (time.monotonic(), 0)
        per_step = (time.monotonic() - start) / max(1, state.global_step - first)
        return f"{per_step * (state.max_steps - state.global_step):.0f} s left"


def _short(name: str) -> str:
    """Return the short name of a metric: `rewards/accuracy/mean` becomes `accuracy`."""
    return name.split("/")[1] if "/" in name else name


def report_progress(
    trainer: Any, stage: str, displayed: tuple[str, ...], log: Callable[[dict[str, float], int], None]
) -> None:
    """Make a trainer print these lines instead of its dictionaries, and forward its metrics to `log`."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressCallback(stage, displayed, log))
