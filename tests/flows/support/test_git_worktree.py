"""The worktree of a retraining with real git and DVC: what it keeps, what it puts back, what it refuses."""

import subprocess
from pathlib import Path

import pytest
from helpers.flow_project import Project

from cac.errors import CacError
from cac.io.git import run_git
from flows.support.dvc_sharing import default_remote
from flows.support.git_worktree import (
    RETRAINING_FOLDER,
    RetrainingWorktree,
    is_retrained,
    open_retraining_worktree,
    resolve_commit,
    results_branch,
)

pytestmark = pytest.mark.slow

IDENTITY = ("user.name=Test", "user.email=test@example.invalid")
LOCK = "schema: '2.0'\nstages:\n  validate:\n    cmd: python cheap_stage.py validate\n"


@pytest.fixture
def checkout(project: Project) -> Path:
    """A repository with one commit on main, and a remote whose path is relative to the checkout."""
    (project.root / ".gitignore").write_text("/data\n/.retraining/\n/.scratch/\n")
    project.dvc("remote", "add", "--quiet", "--default", "store", "../store")
    run_git(project.root, "checkout", "--quiet", "-b", "main")
    _commit(project.root, "First")
    return project.root


def _commit(root: Path, message: str) -> str:
    run_git(root, "add", "--all")
    run_git(root, "commit", "--quiet", "--message", message, settings=IDENTITY)
    return run_git(root, "rev-parse", "HEAD")


def _open(root: Path, revision: str = "main") -> RetrainingWorktree:
    commit = resolve_commit(root, revision)
    return open_retraining_worktree(root, commit, results_branch(root, commit))


def test_a_commit_is_fixed_once_and_its_branch_names_data_and_code(checkout: Path) -> None:
    first = resolve_commit(checkout, "main")
    assert results_branch(checkout, first) == f"retraining/{_md5(checkout)[:8]}-{first[:8]}"
    (checkout / "note").write_text("x")
    assert resolve_commit(checkout, "main") == first != _commit(checkout, "Second")
    for unknown in ("nowhere", "--all", "", "main:data.dvc"):
        with pytest.raises(CacError, match="names no commit"):
            resolve_commit(checkout, unknown)


def _md5(root: Path) -> str:
    return (root / "data.dvc").read_text().split("md5: ")[1].split()[0]


def test_cache_and_remote_are_the_checkouts_wherever_their_paths_begin(checkout: Path) -> None:
    import sys

    tree = _open(checkout)
    asked = (("cache", "dir"), ("remote", "list"))
    answers = [
        subprocess.run(
            (sys.executable, "-m", "dvc", *words), cwd=tree.path, capture_output=True, text=True, check=True
        ).stdout
        for words in asked
    ]
    assert answers[0].strip() == str(checkout / ".dvc" / "cache")
    assert str(checkout.parent / "store") in answers[1] or _resolves(tree.path, answers[1], checkout.parent / "store")
    assert default_remote(checkout) == "store"
    assert tree.changed() == []


def _resolves(tree: Path, listed: str, wanted: Path) -> bool:
    return (tree / listed.split()[1]).resolve() == wanted or (tree / ".dvc" / listed.split()[1]).resolve() == wanted


def test_results_are_committed_on_the_branch_and_nothing_else_moves(checkout: Path) -> None:
    tree = _open(checkout)
    assert not tree.has_progress
    (tree.path / "dvc.lock").write_text(LOCK)
    assert tree.has_progress
    assert not is_retrained(checkout, tree.branch)
    results = tree.commit_results()
    assert not is_retrained(checkout, tree.branch), "registration is still to come"
    assert _open(checkout).commit_results() == results, "again nothing new"
    tree.close()
    assert is_retrained(checkout, tree.branch)
    assert run_git(checkout, "rev-parse", f"{tree.branch}^", "main").split() == [tree.commit] * 2
    assert run_git(checkout, "status", "--porcelain") == ""
    assert not (checkout / RETRAINING_FOLDER).exists()


def test_a_retraining_that_never_came_to_its_end_is_not_done_when_another_commit_takes_the_worktree(checkout: Path):
    tree = _open(checkout)
    (tree.path / "dvc.lock").write_text(LOCK)
    tree.commit_results()  # and killed in the window for a veto
    (checkout / "note").write_text("x")
    _commit(checkout, "Second")
    _open(checkout).close()
    assert not is_retrained(checkout, tree.branch)


def test_the_remotes_keys_are_nobody_elses_to_read(checkout: Path, project: Project) -> None:
    project.dvc("remote", "add", "--local", "away", "s3://bucket/files")
    project.dvc("remote", "modify", "--local", "away", "secret_access_key", "hidden")
    local = _open(checkout).path / ".dvc" / "config.local"
    assert "hidden" in local.read_text()
    assert local.stat().st_mode & 0o077 == 0


def test_an_interrupted_one_keeps_results_and_checkpoints_and_puts_back_the_rest(checkout: Path) -> None:
    tree = _open(checkout)
    (tree.path / "dvc.lock").write_text(LOCK)
    (tree.path / ".scratch").mkdir()
    (tree.path / ".scratch" / "checkpoint").touch()
    (tree.path / "params.yaml").write_text("seed: 0\n")
    (tree.path / "cheap_stage.py").unlink()
    (tree.path / "stray").touch()
    lock = Path(run_git(tree.path, "rev-parse", "--git-path", "index.lock"))
    (tree.path / lock).touch()  # of a git command that was killed
    again = _open(checkout)
    assert again.changed() == ["dvc.lock"]
    assert (tree.path / ".scratch" / "checkpoint").exists()


def test_a_lock_file_torn_by_a_kill_is_put_back(checkout: Path) -> None:
    (checkout / "dvc.lock").write_text(LOCK)
    _commit(checkout, "Locked")
    tree = _open(checkout)
    (tree.path / "dvc.lock").write_text("schema: '2.0'\nstages:\n  validate: {cmd: [")
    assert _open(checkout).changed() == []


def test_a_worktree_half_made_or_half_removed_is_made_anew(checkout: Path) -> None:
    tree = _open(checkout)
    (tree.path / ".git").unlink()
    assert _open(checkout).changed() == []


def test_another_commit_moves_it_and_leaves_checkpoints(checkout: Path) -> None:
    tree = _open(checkout)
    (tree.path / "dvc.lock").write_text(LOCK)
    (tree.path / ".scratch").mkdir()
    (tree.path / ".scratch" / "checkpoint").touch()
    (checkout / "note").write_text("x")
    second = _commit(checkout, "Second")
    moved = _open(checkout)
    assert (moved.head, moved.changed(), moved.has_progress) == (second, [], False)
    assert (moved.path / ".scratch" / "checkpoint").exists()


def test_code_that_changed_while_it_trained_is_refused(checkout: Path) -> None:
    tree = _open(checkout)
    (tree.path / "dvc.lock").write_text(LOCK)
    (tree.path / "params.yaml").write_text("seed: 0\n")
    with pytest.raises(CacError, match=r"params\.yaml"):
        tree.commit_results()
    assert run_git(checkout, "for-each-ref", "refs/heads/retraining") == ""


def test_a_commit_for_other_packages_is_refused(checkout: Path) -> None:
    (checkout / "requirements.lock").write_text("torch==1\n")
    _commit(checkout, "Pins")
    (checkout / "requirements.lock").write_text("torch==2\n")
    with pytest.raises(CacError, match="make install"):
        _open(checkout)


def test_a_commit_without_data_is_refused(checkout: Path) -> None:
    (checkout / "data.dvc").unlink()
    commit = _commit(checkout, "No data")
    with pytest.raises(CacError, match=r"no data\.dvc"):
        results_branch(checkout, commit)


def test_in_it_code_comes_from_it_and_the_store_is_the_checkouts(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    tree = _open(checkout)
    with tree.entered():
        assert Path.cwd() == tree.path
        assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(tree.path / "src"), "/elsewhere"]
        assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{checkout}/.mlflow/mlflow.db"
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert os.environ["PYTHONPATH"] == "/elsewhere"
