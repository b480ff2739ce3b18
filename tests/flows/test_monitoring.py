"""Monitoring with a real Prefect server, MLflow store and model: the event comes once, and `cac status` sees it all."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
import yaml
from helpers.adapters import save_changed_adapter
from helpers.rl_store import register_package
from helpers.tiny_versions import Tiny, answers

from cac.model.calibration import Calibration
from cac.params import Params, load_params
from cac.registry.predictions import EVALUATION_SET_TAG, run_id_of, save_predictions
from cac.registry.versions import CHAMPION, COMPLETE
from cac.status.flow_runs import flow_runs
from cac.status.overview import overview
from cac.tracking.mlflow_runs import connect
from cac.video.encode import encode
from flows.monitoring import with_date
from flows.support.prefect_server import local_server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Watched:
    """A project with a champion, a Prefect server, and what they need in the environment."""

    root: Path
    env: dict[str, str]

    def start(self, place: Path) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "flows", "monitor", str(place))
        return subprocess.run(command, cwd=self.root, env=self.env, capture_output=True, text=True, timeout=900)

    def monitor(self, place: Path) -> str:
        done = self.start(place)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, path: str) -> Any:
        answer = httpx.post(self.env["PREFECT_API_URL"] + path, json={}, timeout=60)
        assert answer.is_success, answer.text
        return answer.json()

    def alarms(self) -> list[dict[str, Any]]:
        """Return the drift events, once all that were sent are kept: the server writes them down seconds later."""
        marker = str(uuid4())
        self._send({"id": marker, "event": "test.marker", "resource": {"prefect.resource.id": "test"}})
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            found = self.ask("/events/filter")["events"]
            if any(event["id"] == marker for event in found):
                return [event for event in found if event["event"] == "cac.drift.found"]
            time.sleep(0.5)
        raise AssertionError("the server did not keep an event within five minutes")

    def _send(self, event: dict[str, Any]) -> None:
        sent = event | {"occurred": datetime.now(UTC).isoformat()}
        httpx.post(self.env["PREFECT_API_URL"] + "/events", json=[sent], timeout=60).raise_for_status()

    def states(self) -> list[str]:
        runs = self.ask("/flow_runs/filter")
        return [run["state_name"] for run in sorted(runs, key=lambda run: run["created"])]


@pytest.fixture
def watched(tmp_path: Path, store_of: Any, fresh_base: Path, project_params: Params) -> Iterator[Watched]:
    root = tmp_path / "project"
    root.mkdir()
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["model"]["base"] = str(fresh_base)
    params["monitoring"]["min_clips"] = 20
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "data.dvc").write_text("outs:\n- md5: d.dir\n  path: data\n")
    store_of(root)
    _crown(load_params(root / "params.yaml"), tmp_path, project_params)
    home = tmp_path / "prefect"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(home))
        with local_server(home / "server.log"):
            python_path = os.pathsep.join((str(ROOT), str(ROOT / "src")))
            env = os.environ | {"PYTHONPATH": python_path, "MLFLOW_TRACKING_URI": f"sqlite:///{root}/.mlflow/mlflow.db"}
            yield Watched(root, env)


def _crown(params: Params, folder: Path, project_params: Params) -> None:
    """Make a model without skill the champion, with invented answers on the test split."""
    from transformers import Qwen3VLForConditionalGeneration

    from cac.model.loading import base_identity
    from cac.model.package import PackageSettings, write_package

    model = Qwen3VLForConditionalGeneration.from_pretrained(params.model.base)
    rank = project_params.adapter.model_copy(update={"r": 2})
    save_changed_adapter(model, rank, folder / "adapter", base_identity(params.model))
    settings = PackageSettings(params.model, params.frames, Calibration(), 4)
    write_package(folder / "package", folder / "adapter", settings)
    client, name = connect(create=True), params.registry.model_name
    register_package(client, folder / "package", COMPLETE)
    run = run_id_of(client.get_model_version(name, "1"))
    measured = answers(Tiny(pairs=20))
    for tag, value in {EVALUATION_SET_TAG: measured.evaluation_set, **save_predictions(client, run, measured)}.items():
        client.set_model_version_tag(name, "1", tag, value)
    client.set_registered_model_alias(name, CHAMPION, "1")


def _videos(folder: Path) -> Path:
    folder.mkdir()
    for number in range(24):
        frames = np.random.default_rng(number).integers(0, 255, (8, 32, 32, 3), np.uint8)
        encode(folder / f"{number}.mp4", frames, 8)
    return folder


@pytest.mark.timeout(1800)
def test_the_same_clips_are_one_alarm(watched: Watched, tmp_path: Path, project_params: Params) -> None:
    failed = watched.start(tmp_path / "nowhere")
    assert failed.returncode == 2
    assert "error: no folder at" in failed.stderr.splitlines()[-1]
    place = _videos(tmp_path / "production")
    assert "drift in" in watched.monitor(place)
    [alarm] = watched.alarms()
    assert alarm["resource"]["prefect.resource.id"] == "cac.drift"
    assert alarm["payload"]["place"] == str(place)
    assert "drift in" in alarm["payload"]["message"]
    assert "reported before" in watched.monitor(place)
    assert watched.alarms() == [alarm]
    assert watched.states() == ["Drift", "Known"], "a wrong folder starts no flow run"
    assert {one["key"] for one in watched.ask("/artifacts/filter")} >= {"drift", "monitoring"}
    _status_sees_it(watched, alarm, project_params)


def _status_sees_it(watched: Watched, alarm: dict[str, Any], params: Params) -> None:
    """In the server and in its file alike, and in the MLflow run, which names the flow run that made it."""
    told = overview(watched.root, params)
    assert told.runs is not None
    assert {run.flow for run in told.runs.runs} == {"monitoring"}
    assert [run.state_name for run in told.runs.runs] == ["Known", "Drift"]
    assert told.drift is not None
    assert told.drift.outcome == "drift"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL")
        from_file = flow_runs(watched.root, datetime.now(UTC))
    assert [run.state_name for run in from_file.runs] == ["Known", "Drift"]
    assert all(run.seconds and run.seconds > 0 for run in from_file.runs)
    tags = connect().get_run(alarm["payload"]["mlflow_run"]).data.tags
    assert f"prefect.flow-run.{tags['prefect.flow_run_id']}" == alarm["related"][0]["prefect.resource.id"]


def test_a_source_may_contain_the_day_before() -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert with_date("s3://production/{date}/clips") == f"s3://production/{yesterday:%Y-%m-%d}/clips"
    assert with_date("clips") == "clips"
