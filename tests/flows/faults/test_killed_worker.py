"""`kill -9` of the worker in each step of a retraining, of the flow in none: one model comes of it all."""

import pytest
from faulty_stack import FaultyStack, measured
from retrain_project import STAGES
from running_stack import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]


def test_the_worker_is_killed_in_each_stage(faulty: FaultyStack) -> None:
    """Each retraining begins at the stage in which the one before was killed."""
    for number, stage in enumerate(STAGES):
        run = faulty.begin_hanging(stage)
        assert faulty.checkout.ran() == STAGES[max(0, number - 1) : number], faulty.explain(run)
        with measured(f"worker killed in {stage}: until the run is called crashed and a worker is there"):
            _kill_worker(faulty)
            faulty.kill_stage()
            _wait_until_crashed(faulty, run)
        assert faulty.registered() == {}
        if number:
            faulty.give_slots_back()
    run = faulty.begin()
    _kill_in_registration(faulty, run)
    assert faulty.checkout.ran() == STAGES[-1:]
    assert faulty.aliases() == {}
    faulty.give_slots_back()
    with measured("and the next retraining, which has only the registration left"):
        assert faulty.end(faulty.begin())["name"] == "Promoted"
    assert faulty.checkout.ran() == []
    faulty.check_nothing_is_half()
    faulty.check_remote()
    assert list(faulty.aliases()) == ["champion"]


def _kill_in_registration(faulty: FaultyStack, run: str) -> None:
    wait_for(lambda: ("register", "RUNNING") in faulty.stage_runs() or faulty.has_ended(run), "the registration", 600)
    [process] = faulty.processes("cac.cli", "register")
    with measured("worker and registration killed: until the run is called crashed"):
        process.kill()
        _kill_worker(faulty)
        _wait_until_crashed(faulty, run)


def _kill_worker(faulty: FaultyStack) -> None:
    """Kill the worker; the supervisor starts it anew and kills what was left of its runs."""
    worker = faulty.running.service("prefect", "worker")
    worker.kill()
    wait_for(lambda: not worker.is_running() and not faulty.processes("prefect", "flow-run"), "the run's process to go")


def _wait_until_crashed(faulty: FaultyStack, run: str) -> None:
    state = faulty.end(run)
    assert state["type"] == "CRASHED", faulty.explain(run)
    assert "No heartbeat" in state["message"]
    faulty.wait_until_ready()


def test_a_stage_that_outlives_the_worker_keeps_the_checkout_locked(faulty: FaultyStack) -> None:
    faulty.change(seed=100)
    orphaned = faulty.begin_hanging("single_frame_sft")
    _kill_worker(faulty)
    _wait_until_crashed(faulty, orphaned)
    faulty.give_slots_back()
    refused = faulty.end(faulty.begin())
    assert refused["type"] == "FAILED"
    assert "still at work" in refused["message"]
    faulty.release()
    wait_for(lambda: not faulty.processes("retrain_stage.py"), "the stage to end")
    wait_for(lambda: not faulty.processes("dvc", "repro"), "its DVC to end")
    done = faulty.end(faulty.begin())
    assert done["name"] in ("Promoted", "Refused"), done
    assert sorted(faulty.checkout.ran()) == sorted(STAGES[1:]), "the orphaned stage's result is kept"
    faulty.check_nothing_is_half()


def test_a_stage_that_hangs_is_stopped(faulty: FaultyStack) -> None:
    faulty.change(seed=200)
    run = faulty.begin_hanging("multi_frame_sft", stage_seconds=30)
    with measured("stage hangs, allowed 30 s: until the run is called timed out"):
        state = faulty.end(run)
    assert (state["type"], state["name"]) == ("FAILED", "TimedOut"), faulty.explain(run)
    assert "multi_frame_sft" in state["message"]
    assert not faulty.processes("retrain_stage.py")
    assert faulty.checkout.ran() == ["single_frame_sft"]
    with measured("and the next retraining, from that stage"):
        done = faulty.end(faulty.begin(stage_seconds=600))
    assert done["name"] in ("Promoted", "Refused"), done
    assert faulty.checkout.ran() == STAGES[2:]
    faulty.check_nothing_is_half()
