"""The retraining with real git, DVC, Prefect server and MLflow store; only the stages are such that cost nothing."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from flow_project import Project

from benchmarks.tiny_versions import Tiny, answers
from cac.annotations import Clip, write_clips
from cac.params import Params
from cac.video import encode
from flows.server import local_server

ROOT = Path(__file__).parents[2]
STAGES = ["validate", "single_frame_sft", "multi_frame_sft", "two_turn_grpo", "evaluate"]
TEST_CLIPS = answers(Tiny(pairs=10)).clips
TRAIN_CLIPS = [clip.model_copy(update={"clip_id": f"t-{clip.clip_id}", "split": "train"}) for clip in TEST_CLIPS[:2]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server with our limits; its address and home as environment."""
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(home))
        with local_server(home / "server.log"):
            from prefect.client.orchestration import SyncPrefectClient

            from infra.automations import LIMITS

            address = {"PREFECT_API_URL": os.environ["PREFECT_API_URL"], "PREFECT_HOME": str(home)}
            with SyncPrefectClient(address["PREFECT_API_URL"]) as client:
                for name, slots in LIMITS.items():
                    client.upsert_global_concurrency_limit_by_name(name, slots)
            yield address


@dataclass(frozen=True)
class Checkout(Project):
    """A project under git, with a DVC remote."""

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
        done = subprocess.run(
            ("git", *identity, *arguments), cwd=self.root, env=self.env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")

    def commit_data(self, clips: list[Clip]) -> str:
        (self.root / "data").mkdir(exist_ok=True)
        (self.root / "data" / "annotations.jsonl").unlink(missing_ok=True)
        write_clips(self.root / "data", clips)
        for clip in clips:  # the model card draws some of them
            _write_video(self.root / "data" / clip.path, clip)
        self.dvc("add", "--quiet", "data")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"Data: {len(clips)} clips")
        return self.git("rev-parse", "HEAD")

    def start(self, revision: str = "main", hang: str = "", **settings: Any) -> subprocess.Popen[str]:
        parameters = json.dumps({"revision": revision, "settings": settings})
        command = (sys.executable, str(ROOT / "tests" / "flows" / "retrain_once.py"), parameters)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=self.root, env=self.env | {"CAC_TEST_HANG": hang}, text=True, **pipes)

    def retrain(self, revision: str = "main", **settings: Any) -> dict[str, str]:
        out, _ = self.start(revision, **settings).communicate(timeout=900)
        try:
            return json.loads(out.splitlines()[-1])
        except (ValueError, IndexError):
            pytest.fail(out)

    def branches(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname:short)", "refs/heads/retraining").split()

    def ran(self) -> list[str]:
        log = Path(self.env["CAC_TEST_RAN"])
        stages = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return stages

    def aliases(self) -> dict[str, str]:
        """The model's aliases as the store has them, {alias: version}."""
        with sqlite3.connect(self.root / ".mlflow" / "mlflow.db") as database:
            rows = database.execute("select alias, version from registered_model_aliases")
            return {alias: str(version) for alias, version in rows}


def _write_video(path: Path, clip: Clip) -> None:
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        encode(path, np.zeros((clip.frame_count, clip.height, clip.width, 3), np.uint8), fps=clip.fps)


@pytest.fixture(scope="module")
def checkout(
    tmp_path_factory: pytest.TempPathFactory,
    fresh_project: Path,
    environment: dict[str, str],
    server: dict[str, str],
    fresh_base: Path,
    project_params: Params,
) -> Checkout:
    """A checkout whose stages leave a registrable model, on the branch main; its data is pushed nowhere yet."""
    folder = tmp_path_factory.mktemp("retraining")
    root = folder / "project"
    shutil.copytree(fresh_project, root)
    names = {"CAC_TEST_RAN": str(folder / "ran"), "CAC_TEST_ADAPTER": str(_adapter(folder, fresh_base, project_params))}
    made = Checkout(root, environment | server | names)
    made.env.pop("MLFLOW_TRACKING_URI", None)
    _write_project(root, fresh_base)
    made.git("checkout", "--quiet", "-b", "main")
    made.dvc("remote", "add", "--quiet", "--default", "store", str(folder / "store"))
    made.commit_data(TEST_CLIPS)
    return made


def _adapter(folder: Path, base: Path, params: Params) -> Path:
    from transformers import Qwen3VLForConditionalGeneration

    from cac.model.adapters import new_adapter, save_adapter
    from cac.model.loading import base_identity

    model = Qwen3VLForConditionalGeneration.from_pretrained(base)
    identity = base_identity(params.model.model_copy(update={"base": str(base)}))
    save_adapter(new_adapter(model, params.adapter.model_copy(update={"rank": 2})), folder / "adapter", identity)
    return folder / "adapter"


def _write_project(root: Path, base: Path) -> None:
    graph = (root / "dvc.yaml").read_text()
    (root / "dvc.yaml").write_text(graph.replace("python cheap_stage.py", "python retrain_stage.py"))
    shutil.copy(Path(__file__).with_name("retrain_stage.py"), root)
    shutil.copy(ROOT / ".gitignore", root)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["model"]["base"] = str(base)
    params["evaluation"] |= {"max_turn_tokens": 8, "bootstrap_samples": 50}
    params["registry"]["gate"] |= {"max_seconds_per_clip": 1e6, "max_expected_calibration_error": 1.0}
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def _wait_for(process: subprocess.Popen[str], found: Any, patience: float = 600) -> None:
    deadline = time.monotonic() + patience
    while not found():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.timeout(1800)
def test_the_story_of_two_datasets(checkout: Checkout) -> None:
    """First training, nothing new, new data killed twice and vetoed: a chapter needs the one before."""
    _the_first_retraining_makes_a_champion(checkout)
    _nothing_new_is_said_and_changes_nothing(checkout)
    _killed_in_a_stage_it_goes_on(checkout)
    _vetoed_in_the_window_it_is_not_promoted(checkout)


def _the_first_retraining_makes_a_champion(checkout: Checkout) -> None:
    main = checkout.git("rev-parse", "main")
    ended = checkout.retrain()
    assert (ended["type"], ended["name"]) == ("COMPLETED", "Promoted"), ended
    assert checkout.ran() == STAGES
    assert checkout.aliases() == {"champion": "1"}
    [branch] = checkout.branches()
    assert branch.endswith(f"-{main[:8]}")
    assert checkout.git("rev-parse", f"{branch}^") == main == checkout.git("rev-parse", "main")
    changed = checkout.git("diff", "--name-only", "main", branch).split()
    assert changed == ["dvc.lock", "metrics/comparisons.json", "metrics/evaluation.json"]
    assert _tags(checkout, "1") >= {("git_commit", checkout.git("rev-parse", branch)), ("git_dirty", "false")}
    assert checkout.git("status", "--porcelain") == ""
    assert not (checkout.root / ".retraining").exists()
    shown = {
        "dataset-diff",
        "validation-summary",
        "metrics-test",
        "report",
        "champion-challenger",
        "promotion",
        "retraining",
    }
    assert _artifacts(checkout) >= shown
    lost = checkout.root / ".dvc" / "cache"  # what was pushed is all that the results need
    shutil.rmtree(lost)
    checkout.git("checkout", "--quiet", branch)
    checkout.dvc("pull", "--quiet")
    assert checkout.dvc("status", "--json").strip() == "{}"
    checkout.git("checkout", "--quiet", "main")


def _tags(checkout: Checkout, version: str) -> set[tuple[str, str]]:
    with sqlite3.connect(checkout.root / ".mlflow" / "mlflow.db") as database:
        return set(database.execute("select key, value from model_version_tags where version = ?", (version,)))


def _artifacts(checkout: Checkout) -> set[str]:
    with sqlite3.connect(Path(checkout.env["PREFECT_HOME"]) / "prefect.db") as database:
        return {key for (key,) in database.execute("select key from artifact")}


def _nothing_new_is_said_and_changes_nothing(checkout: Checkout) -> None:
    branches = checkout.git("for-each-ref")
    ended = checkout.retrain()
    assert (ended["type"], ended["name"]) == ("COMPLETED", "NothingNew")
    assert "was retrained before" in ended["message"]
    checkout.git("merge", "--quiet", *checkout.branches())
    after = checkout.git("for-each-ref")
    ended = checkout.retrain()
    assert ended["name"] == "NothingNew"
    assert "is up to date" in ended["message"]
    assert checkout.git("for-each-ref") == after != branches
    assert checkout.ran() == []
    assert not (checkout.root / ".retraining").exists()


def _killed_in_a_stage_it_goes_on(checkout: Checkout) -> None:
    new = checkout.commit_data([*TEST_CLIPS, *TRAIN_CLIPS])
    process = checkout.start(hang="multi_frame_sft")
    note = checkout.root / ".retraining" / ".scratch" / "hanging"
    _wait_for(process, lambda: note.exists() and note.read_text() != "")
    process.kill()
    process.communicate()
    refused = checkout.retrain()
    assert refused["type"] == "FAILED"
    assert "still at work" in refused["message"]
    os.killpg(os.getpgid(int(note.read_text())), signal.SIGKILL)
    assert checkout.ran() == ["validate", "single_frame_sft"]
    (checkout.root / ".retraining" / ".scratch" / "checkpoint").touch()

    process = checkout.start(veto_seconds=3600)
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if "It is put to the gate in 3600 s" in line:
            break
    assert checkout.ran() == ["multi_frame_sft", "two_turn_grpo", "evaluate"], "".join(said)
    assert (checkout.root / ".retraining" / ".scratch" / "checkpoint").exists(), "checkpoints would be lost"
    process.kill()
    process.wait()
    assert [branch for branch in checkout.branches() if branch.endswith(new[:8])]
    assert checkout.aliases() == {"champion": "1"}


def _vetoed_in_the_window_it_is_not_promoted(checkout: Checkout) -> None:
    vetoed = checkout.command("cac.cli", "veto", "--version", "2", "--reason", "these clips are not ours")
    assert vetoed.returncode == 0, vetoed.stderr
    ended = checkout.retrain()
    assert (ended["type"], ended["name"]) == ("COMPLETED", "Refused"), ended
    assert "these clips are not ours" in ended["message"]
    assert checkout.ran() == []
    assert checkout.aliases() == {"champion": "1"}
    assert not (checkout.root / ".retraining").exists()
    promoted = checkout.command("cac.cli", "promote", "--version", "2", "--despite-veto")
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    assert checkout.aliases() == {"champion": "2", "previous": "1"}


def test_without_a_remote_it_trains_only_if_nothing_is_to_be_pushed(checkout: Checkout, tmp_path: Path) -> None:
    shutil.copytree(checkout.root, tmp_path / "project", symlinks=True)
    alone = replace(checkout, root=tmp_path / "project")
    alone.dvc("remote", "remove", "store")
    (alone.root / "params.yaml").write_text((alone.root / "params.yaml").read_text() + "\n# another commit\n")
    alone.git("commit", "--quiet", "--all", "--message", "No remote")
    ended = alone.retrain()
    assert ended["type"] == "FAILED"
    assert "dvc remote add --default" in ended["message"]


def test_an_unknown_revision_fails_with_a_clear_message(checkout: Checkout) -> None:
    ended = checkout.retrain("nowhere")
    assert ended["type"] == "FAILED"
    assert "names no commit" in ended["message"]
