import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from cac.errors import CacError
from cac.tracking.mlflow_runs import connect, experiment_id, flat_params, stage_run

pytestmark = pytest.mark.slow

MD5 = "0123456789abcdef0123456789abcdef.dir"


def last_run(client, params):
    experiment = client.get_experiment_by_name(params.registry.experiment)
    return client.search_runs([experiment.experiment_id])[0]


def test_a_stage_run_records_settings_metrics_files_and_data(project, params):
    (project / "data.dvc").write_text(f"outs:\n- md5: {MD5}\n  path: data\n")
    (project / "curve.csv").write_text("1,2")
    with stage_run("two_turn_grpo", params) as run:
        run.log_metrics({"reward/accuracy": 0.5, "loss": 2.0}, step=1)
        run.log_metrics({"reward/accuracy": 0.75}, step=2)
        run.log_text("hello", "samples/1.md")
        run.log_artifact(project / "curve.csv")

    client = connect()
    record = client.get_run(run.run_id)
    assert record.info.status == "FINISHED"
    assert record.data.metrics == {"reward/accuracy": 0.75, "loss": 2.0}
    assert [m.step for m in client.get_metric_history(run.run_id, "reward/accuracy")] == [1, 2]
    assert record.data.params["two_turn_grpo.reward_weights.format"] == "0.2"
    assert not any(key.startswith("single_frame_sft") for key in record.data.params)
    assert record.data.tags["stage"] == "two_turn_grpo"
    assert record.data.tags["git_commit"] == "unknown"
    assert record.inputs.dataset_inputs[0].dataset.digest == record.data.tags["data_md5"] == MD5
    artifacts = project / ".mlflow" / "artifacts"
    assert {path.name for path in artifacts.rglob("*") if path.is_file()} == {"1.md", "curve.csv", "inputs.json"}


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")])
def test_an_interrupted_stage_is_not_left_running(project, params, error, status):
    with pytest.raises(error), stage_run("evaluate", params):
        raise error
    assert last_run(connect(), params).info.status == status
    with stage_run("evaluate", params):
        pass
    assert last_run(connect(), params).info.status == "FINISHED"


def test_every_stage_of_the_pipeline_has_settings_to_log(params):
    for stage in ("validate", "single_frame_sft", "multi_frame_sft", "two_turn_grpo", "evaluate", "register"):
        assert flat_params(stage, params)


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns"])
def test_the_file_store_is_refused(project, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(CacError, match="MLFLOW_TRACKING_URI"):
        connect()


def test_a_store_that_cannot_be_written_is_named(tmp_path, project, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".mlflow").write_text("in the way")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(CacError, match=r"elsewhere/\.mlflow/artifacts"):
        connect(create=True)


def test_a_moved_checkout_does_not_write_to_its_old_place(project, params, monkeypatch):
    experiment_id(connect(), params.registry.experiment)
    moved = project.rename(project.with_name(project.name + "-moved"))
    monkeypatch.chdir(moved)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(CacError, match="moved"), stage_run("evaluate", params):
        pass


def test_a_store_whose_making_is_killed_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    folder = tmp_path / ".mlflow"
    making = subprocess.Popen(
        [sys.executable, "-c", "from cac.tracking.mlflow_runs import connect; connect(create=True)"]
    )
    while making.poll() is None and not any(file.stat().st_size for file in folder.glob("*.db*") if file.is_file()):
        time.sleep(0.001)
    making.kill()
    assert making.wait() == -signal.SIGKILL  # it was still at it
    assert not (folder / "mlflow.db").exists()
    connect(create=True).search_experiments()
    assert (folder / "mlflow.db").is_file()


def test_a_store_is_made_where_files_cannot_be_linked(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setattr(os, "link", refuse)
    connect(create=True).search_experiments()
    assert [file.name for file in (tmp_path / ".mlflow").glob("mlflow.db*")] == ["mlflow.db"]
