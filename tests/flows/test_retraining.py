"""The retraining with real git, DVC, Prefect server and MLflow store; only the stages are such that cost nothing."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.retrain_project import STAGES, TEST_CLIPS, TRAIN_CLIPS, Checkout, make_checkout

from cac.params import Params
from flows.support.prefect_server import local_server
from flows.support.s3_hints import with_s3_hints

pytestmark = pytest.mark.slow

SECRETS = {  # what a worker's environment holds, and nobody else must read
    "AWS_SECRET_ACCESS_KEY": "plantedAwsKey7Q2",
    "HF_TOKEN": "plantedHfToken7Q2",
    "MLFLOW_TRACKING_PASSWORD": "plantedMlflow7Q2",
    "PREFECT_API_AUTH_STRING": "cac:plantedPrefect7Q2",
}
GIT_SECRET = "plantedGit7Q2"


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
    env = environment | server | SECRETS
    env.pop("MLFLOW_TRACKING_URI", None)
    made = make_checkout(folder / "project", fresh_project, env, fresh_base, project_params)
    made.git("remote", "add", "origin", f"https://somebody:{GIT_SECRET}@git.invalid/cac.git")
    made.dvc("remote", "add", "--quiet", "--default", "store", str(folder / "store"))
    made.commit_data(TEST_CLIPS)
    return made


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
    assert checkout.aliases() == {"champion": "1", "best": "1"}
    [branch] = checkout.branches()
    assert branch.endswith(f"-{main[:8]}")
    assert checkout.git("rev-parse", f"{branch}^") == main == checkout.git("rev-parse", "main")
    changed = checkout.git("diff", "--name-only", "main", branch).split()
    assert changed == ["dvc.lock", "metrics/comparisons.json", "metrics/evaluation.json", "metrics/groups.json"]
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
    assert "still running" in refused["message"]
    os.killpg(os.getpgid(int(note.read_text())), signal.SIGKILL)
    assert checkout.ran() == ["validate", "single_frame_sft"]
    (checkout.root / ".retraining" / ".scratch" / "checkpoint").touch()

    process = checkout.start(veto_seconds=3600)
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if "The gate runs in 3600 s" in line:
            break
    assert checkout.ran() == ["multi_frame_sft", "two_turn_grpo", "evaluate"], "".join(said)
    assert (checkout.root / ".retraining" / ".scratch" / "checkpoint").exists(), "checkpoints would be lost"
    process.kill()
    process.wait()
    assert [branch for branch in checkout.branches() if branch.endswith(new[:8])]
    assert checkout.aliases() == {"champion": "1", "best": "1"}


def _vetoed_in_the_window_it_is_not_promoted(checkout: Checkout) -> None:
    vetoed = checkout.command("cac", "veto", "--version", "2", "--reason", "these clips are not ours")
    assert vetoed.returncode == 0, vetoed.stderr
    ended = checkout.retrain()
    assert (ended["type"], ended["name"]) == ("COMPLETED", "Refused"), ended
    assert "these clips are not ours" in ended["message"]
    assert checkout.ran() == []
    assert checkout.aliases() == {"champion": "1", "best": "1"}
    assert not (checkout.root / ".retraining").exists()
    promoted = checkout.command("cac", "promote", "--version", "2", "--despite-veto")
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    assert checkout.aliases().items() >= {"champion": "2", "previous": "1"}.items()


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


def test_secrets_of_the_environment_are_written_nowhere(checkout: Checkout) -> None:
    """Everything a retraining leaves: runs and their tags, logs, models, cards, commits, the remote."""
    checkout.retrain()
    failed = checkout.retrain(git_remote="origin")
    assert failed["type"] == "FAILED"
    assert "planted" not in failed["message"]
    places = (checkout.root.parent, Path(checkout.env["PREFECT_HOME"]))
    files = [path for place in places for path in place.rglob("*") if path.is_file() and path.name != "config"]
    assert {"mlflow.db", "prefect.db", "MLmodel"} <= {path.name for path in files}
    assert not [path for path in files if b"planted" in path.read_bytes()]
    commits = checkout.git("log", "--all", "--patch")
    assert "planted" not in commits


def test_a_refusal_without_a_reason_comes_with_what_to_look_at() -> None:
    refused = "[Errno 22] Bad Request: An error occurred (400) when calling the HeadObject operation: Bad Request"
    assert "clocks" in with_s3_hints(refused)
    assert with_s3_hints("ERROR: the lock is held") == "ERROR: the lock is held"
