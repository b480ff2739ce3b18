"""Ingestion with the real S3 server, git, DVC and Prefect; killed between any two steps it ends in the same state."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.delivery_cases import change, files, make_dataset

from cac.data.ingest.deliveries import deliver
from cac.io.s3 import Bucket
from cac.schema.annotations import read_clips

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parents[1] / "helpers" / "killed_ingestion.py"
URL = "s3://team/landing"
STEPS = (
    "fetch_delivery",
    "screen",
    "merge_accepted",
    "add_data",
    "commit_version",
    "mark_ingested",
    "next_announcement",
)


@dataclass(frozen=True)
class Team:
    """A project whose DVC remote and landing place are on the same S3 server."""

    root: Path
    env: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (sys.executable, *command), cwd=self.root, env=self.env, capture_output=True, text=True, timeout=600
        )

    def take_in(self, *steps: str) -> list[str]:
        """Take in as often as there are steps, each time killed after that step; return what was said."""
        return self.ok(str(PROGRAM), URL, *steps).splitlines()

    def git(self, *arguments: str) -> str:
        done = subprocess.run(("git", *arguments), cwd=self.root, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def ok(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def deliver(self, dataset: Path, name: str) -> None:
        deliver(dataset, Bucket(URL), name)


@pytest.fixture
def team(s3, tmp_path, environment) -> Team:
    env = environment | s3.environment | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    env |= {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    team = Team(tmp_path / "project", env)
    team.root.mkdir()
    team.git("init", "--quiet", "--initial-branch", "main")
    make_dataset(team.root / "data", "old-1", "old-2")
    shutil.copy(ROOT / "params.yaml", team.root)
    (team.root / ".gitignore").write_text("/data\n/.scratch/\n")
    team.ok("-m", "dvc", "init", "--quiet")
    team.ok("-m", "dvc", "remote", "add", "--default", "--local", "store", "s3://team/dvc")
    team.ok("-m", "dvc", "add", "--quiet", "data")
    team.git("add", "--all")
    team.git("commit", "--quiet", "--message", "begin")
    return team


def spoiled(folder: Path) -> Path:
    """A delivery with two good pairs, and a clip whose file is another than its line says."""
    make_dataset(folder, "new-1", "new-2", "spoiled")
    change(folder, "spoiled-bad", sha256="0" * 64)
    return folder


def outcome(team: Team, s3) -> dict[str, object]:
    """All that a run leaves to others: the branch's data, the remote, the landing place. Commits hold a time."""
    commits = team.git("log", "--format=%B", "ingested")
    revision = team.git("rev-parse", "ingested")
    bucket = {key: content.replace(revision.encode(), b"REVISION") for key, content in s3.files().items()}
    return {"commits": commits, "pointer": team.git("show", "ingested:data.dvc"), "bucket": bucket}


@pytest.mark.timeout(1800)
def test_killed_after_any_step_it_ends_in_the_same_state(team, s3, tmp_path):
    team.deliver(spoiled(tmp_path / "delivery"), "monday")
    before = (team.git("rev-parse", "main"), team.git("status", "--porcelain"), files(team.root / "data"))
    start = {path: tmp_path / "copies" / path.name for path in (team.root, s3.folder)}
    for path, copy in start.items():
        shutil.copytree(path, copy, symlinks=True)

    said = team.take_in(*STEPS, "none")
    ends = [line.split() for line in said if line.split()[0] in (*STEPS, "none")]
    assert ends == [*([step, str(-signal.SIGKILL)] for step in STEPS), ["none", "0"]]
    assert any("'added': 5, 'removed': 0" in line for line in said)
    interrupted = outcome(team, s3)
    assert (team.git("rev-parse", "main"), team.git("status", "--porcelain"), files(team.root / "data")) == before

    assert team.take_in("none") == ["monday: ingested before", "none 0"]
    assert outcome(team, s3) == interrupted

    s3.kill()  # it would not notice that its folder is another
    for path, copy in start.items():
        shutil.rmtree(path)
        shutil.copytree(copy, path, symlinks=True)
    s3.start()
    assert team.take_in("none")[-1] == "none 0"
    assert outcome(team, s3) == interrupted
    assert "landing/_quarantine/monday/clips/spoiled-bad.mp4.reason.json" in s3.files()

    shutil.rmtree(team.root / ".dvc" / "cache")
    team.git("checkout", "--quiet", "--detach", "ingested")
    team.ok("-m", "dvc", "pull", "--quiet", "--force")
    pairs = ("new-1", "new-2", "old-1", "old-2")
    expected = sorted((*(f"{pair}-{kind}" for pair in pairs for kind in ("bad", "clean")), "spoiled-clean"))
    assert [clip.clip_id for clip in read_clips(team.root / "data")] == expected


@pytest.fixture
def prefect_server(tmp_path) -> Iterator[str]:
    """A whole Prefect server: the temporary one of a run keeps no events."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = (sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--port", str(port))
    env = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    env.pop("PREFECT_API_URL", None)
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/api"
    while not answers(f"{url}/health"):
        assert process.poll() is None, (tmp_path / "server.log").read_text()
        time.sleep(0.2)
    yield url
    process.terminate()
    process.wait()


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def ask(url: str, question: dict[str, object]) -> Any:
    request = urllib.request.Request(url, json.dumps(question).encode(), {"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(request, timeout=60).read())


def version_added_events(server: str) -> list[dict[str, Any]]:
    """Return the events of new versions; the server stores an event with a short delay."""
    for _ in range(600):
        found = ask(f"{server}/events/filter", {"filter": {"event": {"name": ["cac.dataset.version-added"]}}})["events"]
        if found:
            return found
        time.sleep(0.2)
    return []


@pytest.mark.timeout(1800)
def test_the_flow_announces_a_new_version_once_and_shows_the_quarantined_clips(team, s3, prefect_server, tmp_path):
    team.deliver(spoiled(tmp_path / "delivery"), "monday")
    unreadable = make_dataset(tmp_path / "unreadable", "lost")
    team.deliver(unreadable, "tuesday")
    (s3.folder / "team" / "landing" / "tuesday" / "annotations.jsonl").write_bytes(b"\xff\x00")
    (s3.folder / "team" / "landing" / "tuesday" / "delivered.json").write_bytes(b"{}")
    (s3.folder / "team" / "landing" / "wednesday").mkdir()
    team.env["PREFECT_API_URL"] = prefect_server

    refused = team.run("-m", "flows", "ingest", URL)
    assert refused.returncode == 1
    assert "Set --val-ratio and --test-ratio once" in refused.stderr
    done = team.run("-m", "flows", "ingest", URL, "--val-ratio", "0.2", "--test-ratio", "0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    revision = team.git("rev-parse", "ingested")
    [event] = version_added_events(prefect_server)
    assert event["resource"]["prefect.resource.id"] == "cac.dataset"
    assert event["payload"] == {
        "branch": "ingested",
        "revision": revision,
        "previous": team.git("rev-parse", "main"),
        "clips": {"added": 5, "removed": 0, "replaced": 0, "relabelled": 0, "unchanged": 4},
        "deliveries": ["monday"],
    }
    artifacts = {each["key"]: each["data"] for each in ask(f"{prefect_server}/artifacts/filter", {})}
    assert {row["clip"] for row in json.loads(artifacts["dataset-diff"])} >= {"new-1-bad", "spoiled-clean"}
    [row] = json.loads(artifacts["quarantined-monday"])
    assert (row["clip"], row["file"]) == ("spoiled-bad", "clips/spoiled-bad.mp4")
    assert "sha256: expected the file's SHA-256" in row["reasons"]
    assert "landing/_quarantine/tuesday/reason.json" in s3.files()
    assert "landing/_quarantine/tuesday/clips/lost-bad.mp4" in s3.files()

    again = team.run("-m", "flows", "ingest", URL)
    assert again.returncode == 0
    assert again.stdout.splitlines()[-1].startswith("nothing new in s3://team/landing/")
    assert team.git("rev-parse", "ingested") == revision
    assert len(version_added_events(prefect_server)) == 1
