"""MLflow runs of processes that were really killed, in a real store."""

import os
import subprocess
import sys

from cac.tracking.mlflow_runs import connect, experiment_id, stage_run
from cac.tracking.orphaned_runs import PROCESS_TAG, end_orphaned_runs, process_identity


def test_the_next_stage_ends_the_run_of_a_killed_process(project, params):
    client = connect()
    stage = subprocess.Popen((sys.executable, "-c", "import time; time.sleep(600)"))
    tags = {PROCESS_TAG: process_identity(stage.pid)}
    run = client.create_run(experiment_id(client, params.registry.experiment), tags=tags).info.run_id
    with stage_run("validate", params):
        assert client.get_run(run).info.status == "RUNNING"
    stage.kill()
    stage.wait()
    with stage_run("validate", params) as own:
        assert client.get_run(run).info.status == "KILLED"
        assert client.get_run(own.run_id).data.tags[PROCESS_TAG] == process_identity(os.getpid())


def test_a_run_of_a_living_process_or_another_machine_is_left_alone(project, params):
    client = connect()
    experiment = experiment_id(client, params.registry.experiment)
    for process in (process_identity(os.getpid()), "elsewhere 1 1"):
        client.create_run(experiment, tags={PROCESS_TAG: process})
    client.create_run(experiment)
    assert end_orphaned_runs(client, experiment) == []


def test_a_number_that_is_used_again_is_another_process(project, params):
    client = connect()
    experiment = experiment_id(client, params.registry.experiment)
    host, number, start = process_identity(os.getpid()).split()
    run = client.create_run(experiment, tags={PROCESS_TAG: f"{host} {number} {int(start) - 1}"})
    assert end_orphaned_runs(client, experiment) == [run.info.run_id]
