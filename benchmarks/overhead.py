"""Measure the time that Prefect, DVC and MLflow add to the stages.

    python -m benchmarks.overhead [--steps N] [--until STAGE]

Runs the pipeline up to a stage in a clone of the current commit with this folder's clips, and times each stage's
command and its calls of MLflow. The rest of the wall time is overhead: starting commands, the server, hashes, the log.
With `--steps` every training stage runs this many steps only: the overhead is almost the same and the run is shorter,
so its share does not apply to a full run. Needs `data/`. Out of scope: registration, promotion, and MLflow's system
metrics thread.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from cac.paths import DATASET, STAGES, TRAINING_STAGES

ROOT = Path(__file__).parents[1]
_TIMED = """#!/bin/sh
start=$(date +%s.%N)
{python} -m benchmarks.timed_cac "$@"
code=$?
echo "{{\\"verb\\": \\"$*\\", \\"whole\\": [$start, $(date +%s.%N)]}}" >> "$CAC_TIMES"
exit $code
"""


def main() -> int:
    """Run the pipeline once and print where its time went."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description="Time the orchestration.")
    parser.add_argument("--steps", type=int, metavar="N", help="of each training stage (default: as in params.yaml)")
    parser.add_argument("--until", default=STAGES[-1], choices=STAGES, help=f"the last stage (default: {STAGES[-1]})")
    args = parser.parse_args()
    with TemporaryDirectory(prefix="cac-overhead-") as scratch:
        project = _check_out(Path(scratch), args.steps)
        times = Path(scratch) / "times.jsonl"
        start = time.monotonic()
        command = (sys.executable, "-m", "flows", "run", "--until", args.until)
        subprocess.run(command, cwd=project, env=_environment(times), check=True)
        _report(time.monotonic() - start, [json.loads(line) for line in times.read_text().splitlines()])
    return 0


def _check_out(scratch: Path, steps: int | None) -> Path:
    project = scratch / "project"
    subprocess.run(("git", "clone", "--quiet", str(ROOT), str(project)), check=True)
    shutil.copytree(DATASET, project / DATASET)
    if steps is not None:
        path = project / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for stage in TRAINING_STAGES:
            params[stage]["max_steps"] = steps
        path.write_text(yaml.safe_dump(params))
    _time_commands(project)
    return project


def _time_commands(project: Path) -> None:
    """Let every stage of `dvc.yaml` call a `cac` that notes down how long it takes."""
    program = project.parent / "timed-cac"
    program.write_text(_TIMED.format(python=sys.executable))
    program.chmod(0o755)
    path = project / "dvc.yaml"
    path.write_text(path.read_text().replace("cmd: cac ", f"cmd: {program} "))


def _environment(times: Path) -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return known | {"PYTHONPATH": str(ROOT), "CAC_TIMES": str(times)}


def _report(wall: float, entries: list[dict[str, Any]]) -> None:
    commands = {entry["verb"]: entry["whole"][1] - entry["whole"][0] for entry in entries if "whole" in entry}
    tracked = {entry["verb"]: entry["mlflow"] for entry in entries if "mlflow" in entry}
    for verb, seconds in commands.items():
        print(f"{verb:<28}{seconds:8.1f} s, of it MLflow {tracked.get(verb, 0.0):.1f} s")
    around, inside = wall - sum(commands.values()), sum(tracked.values())
    print(f"{'around them: Prefect, DVC':<28}{around:8.1f} s")
    print(f"{'the whole run':<28}{wall:8.1f} s")
    overhead, bare = around + inside, sum(commands.values()) - inside
    print(f"overhead: {overhead:.1f} s, {100 * overhead / bare:.1f} % of the bare commands' {bare:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
