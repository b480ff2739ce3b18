"""A disk that is full: under a training stage, and under all of the stack's services."""

import os
import sqlite3
from pathlib import Path

import httpx
import pytest
from helpers.faulty_stack import FaultyStack, measured
from helpers.retrain_project import ROOT
from helpers.running_stack import wait_for
from helpers.small_training import STEPS, finish, prepare, read_until, train

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]


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
    prepare(folder, small_dataset)
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    env["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "src")))
    process = train(folder, env)
    seen = read_until(process, f" 5/{STEPS}")
    ballast = _fill(folder)
    rest, _ = process.communicate()
    assert process.returncode == 2, seen + rest
    assert rest.splitlines()[-1].startswith("error: no space left on the disk"), rest
    ballast.unlink()
    with measured("disk full under a training stage: the stage run again, from its checkpoint"):
        said = finish(train(folder, env))
    assert "resuming at step" in said
    last, before = _statuses(folder)
    assert last == "FINISHED"
    assert before in ("FAILED", "KILLED"), "a run that has ended is not left running"


def _statuses(folder: Path) -> list[str]:
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
    """Whether the run has come to a good end, which it cannot on a full disk; the server may be down meanwhile."""
    try:
        return faulty.state(run)["type"] == "COMPLETED"
    except (httpx.HTTPError, AssertionError):
        return False
