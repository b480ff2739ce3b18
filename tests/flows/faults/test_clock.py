"""The clock is set forward and back while a retraining is at work, for all programs of the stack at once.

The library libfaketime stands between a program and the C library's clock. Not shifted are rclone, which does not use
the C library, and the times the kernel gives to files.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.faulty_stack import FaultyStack, measured
from helpers.retrain_project import ROOT

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]
LIBRARY = ROOT / ".scratch" / "libfaketime" / "libfaketime" / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"


@pytest.fixture(scope="module")
def clock(faulty: FaultyStack) -> Iterator[Path]:
    """The file that says by how much the stack's clock is wrong."""
    if not LIBRARY.exists():
        pytest.skip("libfaketime is not there; `make fault-test` fetches it")
    file = faulty.running.root / "clock"
    file.write_text("+0")
    file.chmod(0o644)
    shifted = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    faulty.running.verb("stop")
    faulty.running.environment.update(shifted)
    faulty.running.start()
    faulty.be_as_patient_as_deployed()
    yield file
    faulty.running.verb("stop")
    for name in shifted:
        del faulty.running.environment[name]
    faulty.running.start()
    faulty.be_impatient()


@pytest.mark.parametrize(("step", "seed"), [("+240", 500), ("-240", 501)])
def test_a_small_step_is_not_noticed(faulty: FaultyStack, clock: Path, step: str, seed: int) -> None:
    faulty.change(seed)
    run = faulty.begin_hanging("two_turn_grpo")
    clock.write_text(step)
    faulty.release()
    done = faulty.end(run)
    assert done["name"] in ("Promoted", "Refused"), faulty.explain(run)
    faulty.check_nothing_is_half()


@pytest.mark.parametrize(("step", "seed", "end"), [("+86400", 502, "Crashed"), ("-86400", 503, "Failed")])
def test_with_a_clock_a_day_off_nothing_gets_into_the_store_and_nothing_is_lost(
    faulty: FaultyStack, clock: Path, step: str, seed: int, end: str
) -> None:
    """S3 refuses requests that are more than fifteen minutes off, so results cannot be pushed, let alone registered.

    A server whose clock jumps forward has not heard of the run for a day, and calls it crashed before that.
    """
    clock.write_text("+0")
    faulty.change(seed)
    before = faulty.registered()
    run = faulty.begin_hanging("two_turn_grpo")
    clock.write_text(step)
    faulty.release()
    done = faulty.end(run)
    faulty.wait_until_gone(run)
    explained = faulty.explain(run)
    clock.write_text("+0")
    assert done["name"] == end, explained
    assert end == "Crashed" or "the clocks of this machine" in done["message"], explained
    assert faulty.registered() == before
    faulty.check_nothing_is_half()
    faulty.checkout.ran()
    with measured(f"clock set by {step} s in a stage, then right again: the next retraining"):
        run = faulty.begin()
        done = faulty.end(run)
    assert done["name"] in ("Promoted", "Refused"), faulty.explain(run)
    assert "two_turn_grpo" not in faulty.checkout.ran()
    faulty.check_nothing_is_half()
