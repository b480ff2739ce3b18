"""`kill -9` of the worker and what it runs, in each step of a retraining: one model comes of it all."""

import pytest
from helpers.faulty_stack import FaultyStack, measured
from helpers.retrain_project import STAGES
from helpers.running_stack import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]


def test_the_worker_is_killed_in_each_stage(faulty: FaultyStack) -> None:
    """Each retraining begins at the stage in which the one before was killed."""
    faulty.new_data()
    before = faulty.registered(), faulty.aliases()
    for number, stage in enumerate(STAGES):
        run = faulty.begin_hanging(stage)
        assert faulty.checkout.ran() == STAGES[max(0, number - 1) : number], faulty.explain(run)
        with measured(f"worker and run killed in {stage}: until it is called crashed and a worker is there"):
            faulty.kill_run(run)
            _wait_until_crashed(faulty, run)
        faulty.give_slots_back()
    run = faulty.begin()
    _kill_in_registration(faulty, run)
    assert faulty.checkout.ran() == STAGES[-1:]
    assert (faulty.registered(complete=True), faulty.aliases()) == before
    faulty.give_slots_back()
    with measured("and the next retraining, which has only the registration left"):
        assert faulty.end(faulty.begin())["name"] in ("Promoted", "Refused")
    assert faulty.checkout.ran() == []
    assert len(faulty.registered(complete=True)) == len(before[0]) + 1
    faulty.check_nothing_is_half()
    faulty.check_remote()


def _kill_in_registration(faulty: FaultyStack, run: str) -> None:
    wait_for(lambda: ("register", "RUNNING") in faulty.stage_runs() or faulty.has_ended(run), "the registration", 600)
    with measured("worker and run killed in the registration: until it is called crashed"):
        faulty.kill_run(run)
        _wait_until_crashed(faulty, run)


def _wait_until_crashed(faulty: FaultyStack, run: str) -> None:
    state = faulty.end(run)
    assert state["type"] == "CRASHED", faulty.explain(run)
    assert "No heartbeat" in state["message"]
    faulty.wait_until_ready()


def test_a_stage_that_outlives_the_worker_keeps_the_checkout_locked(faulty: FaultyStack) -> None:
    faulty.change(seed=100)
    orphaned = faulty.begin_hanging("single_frame_sft")
    faulty.kill_run(orphaned, spare_stage=True)
    _wait_until_crashed(faulty, orphaned)
    faulty.give_slots_back()
    refused = faulty.end(faulty.begin())
    assert refused["type"] == "FAILED"
    assert "still running" in refused["message"]
    faulty.release()
    wait_for(lambda: not faulty.processes("retrain_stage.py"), "the stage to end")
    wait_for(lambda: not faulty.processes("dvc", "repro"), "its DVC to end")
    done = faulty.end(faulty.begin())
    assert done["name"] in ("Promoted", "Refused"), done
    assert sorted(faulty.checkout.ran()) == sorted(STAGES[1:]), "the orphaned stage's result is kept"
    faulty.check_nothing_is_half()


def test_a_retraining_outlives_its_worker(faulty: FaultyStack) -> None:
    faulty.change(seed=150)
    run = faulty.begin_hanging("two_turn_grpo")
    with measured("worker alone killed in a stage: until there is another"):
        faulty.running.service("prefect", "worker").kill()
        wait_for(lambda: faulty.running.verb("status").returncode == 0, "another worker")
    faulty.release()
    done = faulty.end(run)
    assert done["name"] in ("Promoted", "Refused"), faulty.explain(run)
    assert faulty.checkout.ran() in (STAGES, STAGES[1:]), "validated, if it is the stack's first retraining"
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
