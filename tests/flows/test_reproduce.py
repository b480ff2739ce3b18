"""Making a version again with the real DVC and git, and stages that cost nothing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.tiny_versions import Tiny, make_version

from cac.paths import STAGES
from cac.tracking.dvc_files import LockedStage, read_locked_stages
from cac.tracking.lineage import outputs_from_tags, stage_tags
from cac.tracking.mlflow_runs import connect
from cac.tracking.run_state import read_run_state
from flows.reproduce import sort_stages

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

NAME = "cac-reward-model"


@pytest.fixture
def registered(finished, store_of, project_params):
    """A finished project that is committed, with a version of it."""
    # Committed, and no dependency: it makes the stage hang in the worktree.
    (finished.root / "hang-multi_frame_sft").touch()
    with (finished.root / ".gitignore").open("a") as ignored:
        ignored.write("/ran.log\n/.scratch/\n/.mlflow/\n__pycache__/\n")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for arguments in (("add", "--all"), (*identity, "commit", "--quiet", "-m", "done")):
        subprocess.run(("git", *arguments), cwd=finished.root, check=True)
    store_of(finished.root)
    version = make_version(Tiny(), NAME, project_params.registry.experiment)
    tags = read_run_state(finished.root, project_params).tags() | stage_tags(read_locked_stages(finished.root))
    assert tags["git_dirty"] == "false"
    for key, value in tags.items():
        connect().set_model_version_tag(NAME, version, key, value)
    connect().set_registered_model_alias(NAME, "champion", version)
    return finished


@pytest.mark.timeout(1800)
def test_a_version_is_made_anew_goes_on_after_an_interruption_and_a_difference_is_found(registered):
    before = (registered.root / "dvc.lock").read_bytes()
    cached = _files(registered.root / ".dvc" / "cache")
    worktree = registered.root / ".scratch" / "reproduce" / "version-1"
    assert _interrupted(registered) == 130
    (worktree / "hang-multi_frame_sft").unlink()

    done = registered.command("flows", "reproduce", "--keep", "champion")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "single_frame_sft: done before" in done.stdout
    assert "version 1 is reproduced" in done.stdout
    assert (worktree / "ran.log").read_text().split() == list(STAGES), "each stage ran once, none came from a cache"
    rows = [line.split() for line in done.stdout.splitlines() if line.rstrip().endswith((" yes", " NO"))]
    assert len(rows) == 3 + sum(len(outputs) for outputs in outputs_from_tags(_tags()).values())
    assert {row[-1] for row in rows} == {"yes"}
    assert (registered.root / "dvc.lock").read_bytes() == before
    assert _files(registered.root / ".dvc" / "cache") == cached, "the checkout's own cache stays as it is"

    made = outputs_from_tags(_tags())["two_turn_grpo"] | {"models/two_turn_grpo": "0" * 32 + ".dir"}
    for key, value in stage_tags({"two_turn_grpo": LockedStage({}, made)}).items():
        connect().set_model_version_tag(NAME, "1", key, value)
    other = registered.command("flows", "reproduce", "1", "--use-cache")
    assert other.returncode == 1, other.stdout + other.stderr
    assert "version 1 is NOT reproduced" in other.stdout
    (row,) = [line.split() for line in other.stdout.splitlines() if line.rstrip().endswith(" NO")]
    assert row[:3] == ["two_turn_grpo", "models/two_turn_grpo", "0" * 16]
    assert worktree.is_dir()


def _interrupted(project) -> int:
    """Reproduce, and press Ctrl-C once the stage hangs."""
    command = (sys.executable, "-m", "flows", "reproduce", "champion")
    run = subprocess.Popen(
        command, cwd=project.root, env=project.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert run.stdout is not None
    for line in iter(run.stdout.readline, ""):
        if line.strip() == "hanging":
            run.send_signal(signal.SIGINT)
    return run.wait()


def _tags() -> dict[str, str]:
    return connect().get_model_version(NAME, "1").tags


def _files(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_stages_run_after_those_they_read_from():
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    outputs = outputs_from_tags(stage_tags(read_locked_stages(ROOT)))
    assert list(outputs) != list(STAGES)
    assert sort_stages(graph, outputs) == list(STAGES)
    assert sort_stages(graph, outputs | {"gone": {"data": "1"}}) == list(STAGES)


def test_what_cannot_be_reproduced_is_one_line(registered):
    connect().set_model_version_tag(NAME, "1", "git_dirty", "true")
    done = registered.command("cac", "reproduce", "1")
    assert done.returncode == 2
    assert "no flows/__main__.py" in done.stderr
    done = registered.command("flows", "reproduce", "1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: cac-reward-model version 1 was registered from a checkout with changes")
    assert "Traceback" not in done.stderr
