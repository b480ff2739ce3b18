"""A real training stage of a few steps that can be watched line by line."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.retrain_project import ROOT

STEPS = 14


def prepare(folder: Path, dataset: Path) -> None:
    """Make a folder in which the first stage trains for so many steps, with a checkpoint at every fourth."""
    (folder / "data").symlink_to(dataset)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["single_frame_sft"] |= {"max_steps": STEPS, "batch_size": 2, "save_steps": 4, "logging_steps": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def train(folder: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    """Start the stage."""
    command = (sys.executable, "-m", "cac", "train", "single_frame_sft")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=folder, env=env, text=True, **pipes)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Return what the stage says, to the line with these words."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    pytest.fail(seen)


def finish(process: subprocess.Popen[str], seen: str = "") -> str:
    """Wait for the end of a stage that must succeed, and return all that it said."""
    rest, _ = process.communicate()
    assert process.returncode == 0, seen + rest
    return seen + rest
