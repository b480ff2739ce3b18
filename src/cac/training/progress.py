"""What a training stage shows and keeps while it runs: lines for people, a history for DVC, metrics for MLflow."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback

# Clock readings and counters that differ from run to run, or say nothing.
_LEFT_OUT = ("runtime", "per_second", "total_flos", "epoch", "num_tokens", "step_time", "profiling", "entropy/")


def deterministic_metrics(logs: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of one log line that depend on nothing but the inputs, rounded to 6 digits."""
    numbers = {key: value for key, value in logs.items() if isinstance(value, int | float) and key != "step"}
    kept = {key: float(v) for key, v in numbers.items() if not any(part in key for part in _LEFT_OUT)}
    return {key: round(value, 6) for key, value in kept.items() if math.isfinite(value)}


def write_history(log_history: list[dict[str, Any]], out: Path) -> None:
    """Write a trainer's log history as a JSON list, a row a logged step; the same training gives the same bytes."""
    rows = [
        {"step": line["step"], **deterministic_metrics(line)} for line in log_history if "train_runtime" not in line
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row, sort_keys=True) for row in rows)
    out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


class ProgressCallback(TrainerCallback):
    """Prints a line and sends the metrics on each time the trainer logs."""

    def __init__(self, stage: str, shown: tuple[str, ...], send: Callable[[dict[str, float], int], None]) -> None:
        self.stage = stage
        self.shown = shown
        self.send = send
        self._began: tuple[float, int] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note where and when this run of the stage starts."""
        self._began = (time.monotonic(), state.global_step)
        if state.global_step and state.is_world_process_zero:
            print(f"{self.stage}: going on at step {state.global_step}", flush=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Print and send one log line."""
        metrics = deterministic_metrics(logs or {})
        if not metrics or "train_runtime" in (logs or {}) or not state.is_world_process_zero:
            return
        self.send(metrics, state.global_step)
        shown = "  ".join(f"{_short(name)} {metrics[name]:.3g}" for name in self.shown if name in metrics)
        print(f"{self.stage}  {state.global_step}/{state.max_steps}  {shown}  {self._remaining(state)}", flush=True)

    def _remaining(self, state: Any) -> str:
        began, first = self._began or (time.monotonic(), 0)
        per_step = (time.monotonic() - began) / max(1, state.global_step - first)
        return f"{per_step * (state.max_steps - state.global_step):.0f} s left"


def _short(name: str) -> str:
    """Return the telling part of a metric's name: `rewards/accuracy/mean` is `accuracy`."""
    return name.split("/")[1] if "/" in name else name


def report_progress(
    trainer: Any, stage: str, shown: tuple[str, ...], send: Callable[[dict[str, float], int], None]
) -> None:
    """Let a trainer print our lines instead of its own dictionaries, and send its metrics on."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ProgressCallback(stage, shown, send))
