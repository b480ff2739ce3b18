"""The screen and its parts, with a real MLflow store, and servers that are away, silent, or refuse."""

import json
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from helpers.tiny_versions import Tiny, make_version

from cac.cli import main as cli
from cac.cli.status_screen import print_screen
from cac.params import Params
from cac.registry.overrides import open_veto_window, veto
from cac.registry.promote import promote
from cac.status import flow_runs, models
from cac.status.data_version import data_version
from cac.status.overview import AT_WORK, IDLE, VETO_WINDOW, overview

ROOT = Path(__file__).parents[2]
MD5 = "d.dir"  # of tiny versions, too


@pytest.fixture
def project(tmp_path, store_of, monkeypatch) -> Path:
    """A project under git with two clips of data and no stages; its store has no model yet."""
    root = tmp_path / "project"
    (root / "data" / "clips").mkdir(parents=True)
    (root / "data" / "annotations.jsonl").write_text("{}\n{}\n")
    (root / "data.dvc").write_text(f"outs:\n- md5: {MD5}\n  size: 6\n  nfiles: 1\n  hash: md5\n  path: data\n")
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (root / ".gitignore").write_text("/data\n/.mlflow/\n/.scratch/\n")
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Two clips: walkers")
    store_of(root)
    for name in ("PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    return root


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
    done = subprocess.run(("git", *identity, *arguments), cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def version(params: Params, **wanted: object) -> str:
    return make_version(Tiny(**wanted), params.registry.model_name, params.registry.experiment)


def test_the_data_is_told_by_what_names_it(project):
    told = data_version(project)
    assert (told.md5, told.clips, told.size, told.folder) == (MD5, 2, 6, "as named")
    assert told.brought_by is not None
    assert told.brought_by.commit == git(project, "rev-parse", "--short", "HEAD")
    assert told.brought_by.subject == "Two clips: walkers"
    (project / "data" / "clips" / "new.mp4").write_text("a clip")
    assert data_version(project).folder == "differs"
    (project / "data.dvc").write_text((project / "data.dvc").read_text().replace(MD5, "e.dir"))
    assert data_version(project).brought_by is None


def test_champion_challenger_and_the_data_they_are_from(project, project_params):
    params = project_params
    assert overview(project, params).models.champion is None
    first, second = version(params), version(params)
    promote(params, first)
    told = overview(project, params)
    assert told.models.champion.version == first
    assert told.champion_fits
    assert (told.models.challenger.version, told.models.challenger.gate) == (second, None)
    assert any(f"cac promote --version {second}" in line for line in told.attention)
    promote(params, second)
    told = overview(project, params)
    assert (told.models.champion.version, told.models.previous.version, told.models.challenger) == (second, first, None)
    assert told.champion_fits
    (project / "data.dvc").write_text((project / "data.dvc").read_text().replace(MD5, "e.dir"))
    told = overview(project, params)
    assert told.champion_fits is False
    assert any("trained on other data" in line for line in told.attention)


def test_a_veto_window_is_seen_until_it_is_over(project, project_params, monkeypatch):
    params = project_params
    promote(
        params,
        version(
            params,
        ),
    )
    waiting = version(
        params,
    )
    run = flow_runs.FlowRun("retraining", "calm-owl", "RUNNING", "Running", "2026-11-24T12:00:00+00:00", 60.0)
    monkeypatch.setattr("cac.status.overview.flow_runs", lambda root, now: flow_runs.FlowRuns("x", (run,), None))
    assert overview(project, params).retraining.state == AT_WORK
    until = open_veto_window(params, waiting, 600)
    told = overview(project, params)
    assert told.retraining.state == VETO_WINDOW
    assert until in told.retraining.detail
    assert any(f"cac veto --version {waiting}" in line for line in told.attention)
    later = datetime.now(UTC) + timedelta(seconds=601)
    assert not models.in_window(told.models.challenger, later)
    veto(params, waiting, "blurred")
    assert models.describe_status(overview(project, params).models.challenger, later) == "vetoed: blurred"


def test_a_store_that_was_never_made_is_not_made(project, project_params):
    (project / ".mlflow" / "mlflow.db").unlink()
    told = overview(project, project_params)
    assert (told.models.versions, told.drift, told.unknown) == (0, None, {})
    assert not (project / ".mlflow" / "mlflow.db").exists()


def test_servers_that_are_away_are_said_to_be(project, project_params, monkeypatch, capsys):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("PREFECT_API_URL", f"http://{nobody}/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql+psycopg://cac:hidden@{nobody}/mlflow")
    told = overview(project, project_params)
    assert "does not answer" in told.unknown["runs"]
    assert "does not answer" in told.unknown["models"]
    assert told.data.clips == 2
    print_screen(told)
    shown = capsys.readouterr().out
    assert "unknown" in shown
    assert "hidden" not in shown + json.dumps(told.to_dict())


def test_a_silent_server_is_given_up(project, project_params, monkeypatch):
    monkeypatch.setattr(flow_runs, "_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/api")
        assert "timed out" in overview(project, project_params).unknown["runs"]


def test_the_verb(project, project_params, capsys):
    promote(project_params, version(project_params))
    (project / "data.dvc").write_text((project / "data.dvc").read_text().replace(MD5, "e.dir"))
    assert cli.main(["status"]) == 0
    shown = capsys.readouterr().out
    for word in (
        "Data",
        "2 clips",
        "uncommitted changes",
        "Models",
        "champion",
        "(other)",
        "Runs",
        "none yet",
        "Attention",
    ):
        assert word in shown
    assert len(shown.splitlines()) < 50, "one screen"
    assert cli.main(["status", "--json", "--exit-code"]) == 4
    told = json.loads(capsys.readouterr().out)
    assert told["champion_is_of_this_data"] is False
    assert told["retraining"]["state"] == IDLE
    assert told["models"]["champion"]["version"] == "1"


def test_outside_of_a_project_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["--params", str(ROOT / "params.yaml"), "status"]) == 2
    assert "data.dvc" in capsys.readouterr().err
