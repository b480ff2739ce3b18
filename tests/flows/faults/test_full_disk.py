"""A disk that is full: under a training stage, and under all of the stack's services."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from faulty_stack import FaultyStack, measured
from retrain_project import ROOT
from running_stack import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]
_STEPS = 12


def _fill(folder: Path) -> Path:
    """Fill up the folder's disk and return the file to remove afterwards."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            return ballast
    raise AssertionError("never full")


@pytest.fixture
def needs_disk(small_disk: Path | None) -> Path:
    if small_disk is None:
        pytest.skip("only root can mount a small disk")
    return small_disk


def test_training_on_a_full_disk_goes_on_when_there_is_room(needs_disk: Path, small_dataset: Path) -> None:
    folder = needs_disk / "training"
    folder.mkdir()
    (folder / "data").symlink_to(small_dataset)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["single_frame_sft"] |= {"steps": _STEPS, "batch_size": 2, "save_every": 4, "log_every": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    process = _train(folder)
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if f" 5/{_STEPS}" in line:
            break
    ballast = _fill(folder)
    rest, _ = process.communicate()
    assert process.returncode == 2, "".join(seen) + rest
    assert "no space left" in rest.splitlines()[-1], rest
    assert "Traceback" not in rest
    ballast.unlink()
    with measured("disk full under a training stage: the stage run again, from its checkpoint"):
        process = _train(folder)
        out, _ = process.communicate()
    assert process.returncode == 0, out
    assert "going on at step 4" in out
    assert _statuses(folder) == ["FINISHED", "KILLED"] or _statuses(folder) == ["FINISHED", "FAILED"]


def _train(folder: Path) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", "cac.cli", "train", "single_frame_sft")
    path = os.pathsep.join((str(ROOT), str(ROOT / "src")))
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"} | {"PYTHONPATH": path}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=folder, env=env, text=True, **pipes)


def _statuses(folder: Path) -> list[str]:
    import sqlite3

    with sqlite3.connect(folder / ".mlflow" / "mlflow.db") as database:
        return [status for (status,) in database.execute("select status from runs order by start_time desc")]


def test_services_on_a_full_disk_lose_nothing(needs_disk: Path, faulty: FaultyStack) -> None:
    faulty.change(seed=400)
    before = faulty.registered()
    run = faulty.begin_hanging("single_frame_sft")
    ballast = _fill(needs_disk)
    faulty.release()
    with pytest.raises(AssertionError, match="waited"):
        wait_for(lambda: _is_over(faulty, run), "a minute", 60)
    ballast.unlink()
    with measured("disk full under all services for a minute: until all are ready and the run has ended"):
        faulty.running.start()
        faulty.wait_until_ready()
        ended = faulty.end(run)
    faulty.give_slots_back()
    assert set(faulty.registered()) >= set(before)
    if ended["type"] != "COMPLETED":
        with measured("and the next retraining"):
            ended = faulty.end(faulty.begin())
    assert ended["name"] in ("Promoted", "Refused"), faulty.explain(run)
    faulty.check_nothing_is_half()
    faulty.check_remote()


def _is_over(faulty: FaultyStack, run: str) -> bool:
    """Whether the run has come to a good end, which it cannot on a full disk."""
    try:
        return faulty.state(run)["type"] == "COMPLETED"
    except (OSError, AssertionError, Exception):  # the server may be down, or say that it has no room
        return False
