"""Versions out of a real git and DVC repository: from the cache, from the remote, and what is said if there is none."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.version_cases import anomaly, clip, dataset

from cac.cli import main as cli
from cac.data.versions.merge import merge_datasets
from cac.data.versions.revisions import read_version
from cac.errors import CacError
from cac.schema.annotations import Clip

SOURCE = Path(__file__).parents[3] / "src"
OLD = (clip("x"), clip("y"))
NEW = (clip("x", anomalies=(anomaly(),)), clip("z"))


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    subprocess.run(("git", "-C", str(root), *identity, *arguments), check=True, capture_output=True)


def commit_data(root: Path, message: str) -> None:
    """What `dvc add data`, `dvc push` and a commit do."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        repo.add(str(root / "data"))
        repo.push()
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", message)


@pytest.fixture(scope="module", autouse=True)
def _dvc_keeps_to_the_tests_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two versions of data, the first with the tag `v1`, beside its remote; tests leave it alone."""
    from dvc.repo import Repo

    place = tmp_path_factory.mktemp("versions")
    root = place / "repo"
    dataset(root / "data", *OLD)
    git(root, "init", "--quiet")
    with Repo.init(str(root)):
        pass
    (root / ".dvc" / "config").write_text("[core]\n    remote = r\n['remote \"r\"']\n    url = ../../remote\n")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "before there was data")
    commit_data(root, "one")
    git(root, "tag", "v1")
    shutil.rmtree(root / "data")
    dataset(root / "data", *NEW)
    commit_data(root, "two")
    return place


@pytest.fixture
def repo(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy" / "repo"


def ids(clips: tuple[Clip, ...]) -> set[str]:
    return {one.clip_id for one in clips}


@pytest.mark.parametrize(("revision", "clips"), [("v1", OLD), ("HEAD~1", OLD), ("HEAD", NEW)])
def test_a_revision_is_read_from_the_cache_without_a_remote(repo: Path, revision: str, clips: tuple[Clip, ...]) -> None:
    shutil.rmtree(repo.parent / "remote")
    shutil.rmtree(repo / "data")
    version = read_version(revision, repo / "data")

    assert tuple(version.clips.values()) == clips
    assert re.fullmatch(re.escape(revision) + r" \([0-9a-f]{8}\)", version.name)
    assert not (repo / "data").exists(), "nothing is checked out"


def test_a_revision_that_is_not_in_the_cache_is_read_from_the_remote(repo: Path) -> None:
    shutil.rmtree(repo / ".dvc" / "cache")

    assert read_version("v1", repo / "data").clips.keys() == ids(OLD)


def test_a_revision_whose_data_is_nowhere_is_a_clear_mistake(repo: Path) -> None:
    shutil.rmtree(repo / ".dvc" / "cache")
    shutil.rmtree(repo.parent / "remote")

    with pytest.raises(CacError, match=r"the data of v1 can be read neither .*cache nor .*remote.*dvc push"):
        read_version("v1", repo / "data")


def test_a_revision_from_before_there_was_data_is_named(repo: Path) -> None:
    with pytest.raises(CacError, match=r"HEAD~2 has no data/annotations\.jsonl"):
        read_version("HEAD~2", repo / "data")


@pytest.mark.parametrize("name", ["nonsense", "HEAD~9", "--help", "v1:data.dvc"])
def test_what_is_neither_a_folder_nor_a_commit_is_a_mistake(made: Path, name: str) -> None:
    with pytest.raises(CacError, match="neither a folder nor a git revision"):
        read_version(name, made / "repo" / "data")


def test_a_revision_outside_of_a_repository_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(CacError, match="no git repository"):
        read_version("HEAD", tmp_path / "data")


def test_a_manifest_that_is_not_valid_is_named_with_its_revision_and_line(repo: Path) -> None:
    git(repo, "rm", "--quiet", "data.dvc", ".gitignore")
    (repo / "data" / "annotations.jsonl").write_text("{}\n")
    git(repo, "add", "--force", "data/annotations.jsonl")
    git(repo, "commit", "--quiet", "--message", "tracked by git itself")

    with pytest.raises(CacError, match=r"data/annotations\.jsonl at HEAD:1: .*clip_id"):
        read_version("HEAD", repo / "data")


def test_the_command_compares_revisions_and_folders(made: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(made / "repo")
    assert cli.main(["data", "diff", "v1", "data", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert found["after"] == "data"
    assert found["before"].startswith("v1 (")
    assert [one["clip_id"] for one in found["added"]] == ["z"]
    assert [one["clip_id"] for one in found["removed"]] == ["y"]
    assert found["relabelled"][0]["changes"]["leaf"] == {"before": [], "after": ["vanishing"]}


def test_a_version_that_was_merged_shows_exactly_the_clips_that_came_with_it(repo: Path, monkeypatch, capsys) -> None:
    new = dataset(repo.parent / "new", clip("n1"), clip("n2"), clip("x", anomalies=(anomaly(),)))
    merge_datasets([repo / "data", new], repo / "data")
    commit_data(repo, "three")
    monkeypatch.chdir(repo)
    assert cli.main(["data", "diff", "HEAD~1", "HEAD", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert [one["clip_id"] for one in found["added"]] == ["n1", "n2"]
    assert (found["removed"], found["replaced"], found["relabelled"], found["unchanged"]) == ([], [], [], 2)


def test_only_this_module_knows_dvc() -> None:
    imports = re.compile(r"^\s*(from|import) (dvc|dvc_\w+|prefect)\b", re.MULTILINE)
    found = [path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if imports.search(path.read_text())]

    assert found == ["cac/data/versions/revisions.py"]
