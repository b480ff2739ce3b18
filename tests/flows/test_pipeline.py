"""The flow with the real server, the real DVC and stages that cost nothing."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest

from flows.support.exits import extract_error

pytestmark = pytest.mark.slow

STAGES = ["validate", "single_frame_sft", "multi_frame_sft", "two_turn_grpo", "evaluate"]


@pytest.mark.timeout(1800)
def test_an_interrupted_run_resumes_where_it_stopped(project, prefect_home):
    (project.root / "hang-multi_frame_sft").touch()
    command = (sys.executable, "-m", "flows", "run", "--until", "evaluate")
    run = subprocess.Popen(
        command, cwd=project.root, env=project.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert run.stdout is not None
    seen = [line for line in iter(run.stdout.readline, "") if not _interrupt_at("hanging", line, run)]
    assert run.wait() == 130, "".join(seen)
    assert any("checkpoint kept" in line for line in seen), "the stage was not asked to end"
    assert "`make run` resumes from there" in seen[-1]
    assert project.ran() == ["validate", "single_frame_sft"]

    (project.root / "hang-multi_frame_sft").unlink()
    done = project.command("flows", "run", "--until", "evaluate")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.ran() == ["multi_frame_sft", "two_turn_grpo", "evaluate"]
    assert "0.75 [0.70, 0.80]" in done.stdout
    assert "What next" in done.stdout
    shown = {"dataset-diff", "validation", "validation-summary", "data-docs", "metrics-test", "metrics-val", "report"}
    assert _artifacts(prefect_home) >= shown
    assert "git_commit=" in done.stdout + done.stderr
    assert _table(prefect_home, "validation") == ["pair"]
    assert _states(prefect_home) == ["CANCELLED", "COMPLETED"]


def _interrupt_at(word: str, line: str, run: subprocess.Popen[str]) -> bool:
    if line.rstrip().endswith(word):
        run.send_signal(signal.SIGINT)
    return False


def _artifacts(home) -> set[str]:
    with sqlite3.connect(home / "prefect.db") as database:
        return {key for (key,) in database.execute("select key from artifact")}


def _table(home, key: str) -> list[str]:
    """The checks named in a table artifact, as it was last written."""
    with sqlite3.connect(home / "prefect.db") as database:
        [(data,)] = database.execute("select data from artifact where key = ? order by created desc limit 1", [key])
    rows = json.loads(data)
    return [row["check"] for row in (json.loads(rows) if isinstance(rows, str) else rows)]


def _states(home) -> list[str]:
    """How the last two runs ended, the earlier one first; other tests' runs may be before them."""
    with sqlite3.connect(home / "prefect.db") as database:
        rows = database.execute("select state_type from flow_run order by created desc limit 2").fetchall()
    return [state for (state,) in reversed(rows)]


def test_a_failing_stage_ends_the_run_with_its_own_message(project):
    (project.root / "fail-single_frame_sft").touch()
    done = project.command("flows", "run", "--until", "evaluate")
    assert done.returncode == 1
    *_, which, why = done.stderr.rstrip().splitlines()
    assert "single_frame_sft failed" in which
    assert why == "error: clip 17 is broken. Mend it."
    assert "Traceback" not in done.stdout + done.stderr
    assert project.ran() == ["validate"]


def test_a_misspelt_setting_stops_the_run_before_anything_starts(project):
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("learning_rate", "lerning_rate"))
    done = project.command("flows", "run")
    assert done.returncode == 2
    assert "lerning_rate: unknown key" in done.stderr
    assert project.ran() == []


def test_an_unknown_step_is_a_clear_error(project):
    done = project.command("flows", "run", "--until", "evaluation")
    assert done.returncode == 2
    assert "evaluate" in done.stderr


def test_a_missing_data_dvc_stops_the_run(project):
    shutil.rmtree(project.root / "data")
    (project.root / "data.dvc").unlink()
    done = project.command("flows", "run")
    assert done.returncode == 2
    assert "no data.dvc" in done.stderr


def test_the_extracted_error_is_the_message_without_what_dvc_adds():
    tail = [
        "step 10",
        "error: no adapter at x.",
        "Train it.",
        "ERROR: failed to reproduce 'evaluate': failed to run: y",
    ]
    assert extract_error(tail) == ["error: no adapter at x.", "Train it."]


def test_the_extracted_error_of_a_bug_is_the_end_of_its_traceback():
    tail = [*(f"line {number}" for number in range(50)), "ValueError: boom", "ERROR: failed to reproduce 'x'"]
    assert extract_error(tail)[-1] == "ValueError: boom"
    assert len(extract_error(tail)) == 12
