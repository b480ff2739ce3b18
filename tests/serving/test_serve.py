"""`cac serve` as a process: a real registered version, real videos sent at once, a promotion meanwhile, and SIGTERM."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from helpers.adapters import save_changed_adapter
from helpers.rl_store import NAME, register_package

from cac.cli import main as cli
from cac.model.calibration import Calibration
from cac.model.loading import base_identity, load_base
from cac.model.package import PackageSettings, write_package
from cac.params import Model
from cac.registry.versions import COMPLETE
from cac.serving.settings import ServeSettings
from cac.tracking.mlflow_runs import connect
from cac.video.encode import encode

pytestmark = pytest.mark.slow

CHAMPION = f"models:/{NAME}@champion"
PATIENCE = 300
WAIT_MS = 2000  # a batch waits so long for more that a signal can come in between


@pytest.fixture(scope="module")
def store(tmp_path_factory, fresh_base, project_params):
    """A client of a real store with two versions of different calibration; yields it with the store's address."""
    folder = tmp_path_factory.mktemp("store")
    settings = Model(base=str(fresh_base), revision=None, dtype="float32")
    small = {"looks": 1, "coarse_count": 1, "dense_count": 1, "one_look_size": 32}
    frames = project_params.frames.model_copy(update=small)
    adapter = project_params.adapter.model_copy(update={"r": 2})
    save_changed_adapter(load_base(settings)[0], adapter, folder / "adapter", base_identity(settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        client = connect(create=True)
        for bias in (1.0, -1.0):
            packed = PackageSettings(settings, frames, Calibration(1.0, bias), 8)
            write_package(folder / f"package{bias}", folder / "adapter", packed)
            register_package(client, folder / f"package{bias}", COMPLETE)
        client.set_registered_model_alias(NAME, "champion", "1")
        yield client, f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def server(store, tmp_path):
    """Yield the process and its address once it is ready; it is gone afterwards."""
    command = (sys.executable, "-m", "cac", "serve", "--model", CHAMPION, "--port", "0", "--max-mb", "1")
    process = subprocess.Popen(
        (*command, "--batch-wait-ms", str(WAIT_MS), "--batch-size", "16"),
        env=os.environ | {"MLFLOW_TRACKING_URI": store[1]},
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "server.log").open("w"),
        text=True,
        cwd=tmp_path,
    )
    try:
        line = process.stdout.readline()
        address = re.search(r"serving models:/cac-reward-model/1 on (http://127\.0\.0\.1:\d+)", line)
        assert address, line + (tmp_path / "server.log").read_text()
        until(lambda: _answers(address[1]))
        yield process, address[1]
    finally:
        process.kill()
        process.wait()


def until(true) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/ready").status_code == 200
    except httpx.TransportError:
        return False


def post(address: str, content: bytes) -> httpx.Response:
    return httpx.post(f"{address}/score", content=content, timeout=PATIENCE)


def test_a_server_from_start_to_sigterm(server, store, tmp_path):
    process, address = server
    videos = []
    for level in (0, 80, 160, 240):
        encode(tmp_path / f"{level}.mp4", np.full((8, 32, 32, 3), level, np.uint8), 8)
        videos.append((tmp_path / f"{level}.mp4").read_bytes())
    store[0].set_registered_model_alias(NAME, "champion", "2")

    sent = [*videos, b"no video", bytes(1_000_001)]
    with ThreadPoolExecutor(len(sent)) as clients:
        answers = list(clients.map(lambda content: post(address, content), sent))
    assert [answer.status_code for answer in answers] == [200] * 4 + [422, 413]
    assert {answer.json()["model"] for answer in answers[:4]} == {f"models:/{NAME}/1"}, (
        "the alias has moved, it has not"
    )
    assert all(answer.json()["score"] == pytest.approx(1 / (1 + np.exp(-1)), abs=0.3) for answer in answers[:4])
    metrics = httpx.get(f"{address}/metrics").text
    assert "cac_batch_videos_sum 4.0" in metrics
    assert 'cac_errors_total{kind="not_a_video"} 1.0' in metrics

    with ThreadPoolExecutor(4) as clients:
        late = [clients.submit(post, address, video) for video in videos]
        until(lambda: "cac_requests_under_way 4.0" in httpx.get(f"{address}/metrics").text)
        process.send_signal(signal.SIGTERM)
        assert [answer.result().status_code for answer in late] == [200] * 4
    assert process.wait(PATIENCE) == 0
    assert "Traceback" not in (tmp_path / "server.log").read_text()
    with pytest.raises(httpx.TransportError):
        post(address, videos[0])


def test_a_taken_port_is_said_before_the_model_is_loaded(capsys):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert cli.main(["serve", "--model", "models:/nobody@champion", "--port", port]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_a_clear_error(store, capsys):
    assert cli.main(["serve", "--model", "models:/nobody@champion", "--port", "0"]) == 2
    assert "no alias 'champion'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--batch-size", "0"),
        ("--max-requests", "0"),
        ("--max-mb", "0"),
        ("--timeout", "0"),
        ("--max-seconds", "0"),
        ("--port", "99999"),
        ("--batch-wait-ms", "-1"),
    ],
)
def test_a_bound_that_cannot_be_is_named(capsys, option, value):
    assert cli.main(["serve", option, value]) == 2
    assert option in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"), [("--max-seconds", "nan"), ("--max-megapixels", "inf"), ("--max-mb", "inf")]
)
def test_a_bound_that_is_no_number_is_named(capsys, option, value):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["serve", option, value])
    assert f"{option}: must be a number" in capsys.readouterr().err


def test_it_listens_on_this_machine_alone_by_default():
    assert ServeSettings().host == "127.0.0.1"
