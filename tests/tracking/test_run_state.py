import subprocess

import pytest
import yaml

from cac.errors import CacError
from cac.params import load_params
from cac.tracking.run_state import (
    UNKNOWN,
    data_md5,
    environment_sha256,
    folder_sha256,
    git_state,
    params_sha256,
    read_run_state,
    stage_hashes,
)

MD5 = "0123456789abcdef0123456789abcdef.dir"


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def lock(folder, **stages):
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False))


def test_git_state_names_the_commit_and_sees_changes(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "a")
    commit, dirty = git_state(tmp_path)
    assert (tmp_path / ".git" / "HEAD").is_file()
    assert (len(commit), dirty) == (40, "false")
    (tmp_path / "b").write_text("2")
    assert git_state(tmp_path) == (commit, "true")


def test_what_the_pipeline_writes_makes_nothing_dirty(tmp_path):
    git(tmp_path, "init")
    project = tmp_path / "in a folder"
    (project / "metrics").mkdir(parents=True)
    for name in ("dvc.lock", "metrics/evaluation.json", "code.py"):
        (project / name).write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "a")
    (project / "dvc.lock").write_text("2")
    (project / "metrics" / "evaluation.json").unlink()
    (project / "metrics" / "comparisons.json").write_text("new")
    assert git_state(project)[1] == "false"
    (project / "code.py").write_text("2")
    assert git_state(project)[1] == "true"


def test_outside_of_any_project_everything_but_the_settings_is_unknown(tmp_path, params):
    state = read_run_state(tmp_path, params).tags()
    assert state.pop("params_sha256") == params_sha256(params)
    assert set(state.values()) == {UNKNOWN}


def test_data_md5_is_dvcs_own(tmp_path):
    (tmp_path / "data.dvc").write_text(f"outs:\n- md5: {MD5}\n  size: 3\n  nfiles: 1\n  hash: md5\n  path: data\n")
    assert data_md5(tmp_path) == MD5


@pytest.mark.parametrize("content", ["outs: []\n", "outs:\n- path: data\n", "- 1\n", "a: [\n"])
def test_a_broken_data_file_is_named(tmp_path, content):
    (tmp_path / "data.dvc").write_text(content)
    with pytest.raises(CacError, match=r"data\.dvc"):
        data_md5(tmp_path)


def test_only_the_changed_stage_gets_another_hash(tmp_path):
    lock(tmp_path, train={"cmd": "t", "outs": [{"md5": "1"}]}, evaluate={"cmd": "e", "deps": []})
    before = stage_hashes(tmp_path)
    lock(tmp_path, evaluate={"deps": [], "cmd": "e"}, train={"cmd": "t", "outs": [{"md5": "2"}]})
    after = stage_hashes(tmp_path)
    assert before["evaluate"] == after["evaluate"]
    assert before["train"] != after["train"]


def test_settings_hash_ignores_how_the_file_is_written(tmp_path, params):
    values = params.model_dump(mode="json")
    rewritten = tmp_path / "params.yaml"
    rewritten.write_text("# a comment\n" + yaml.safe_dump(values, sort_keys=True))
    assert params_sha256(load_params(rewritten)) == params_sha256(params)
    values["compute"]["seed"] += 1
    rewritten.write_text(yaml.safe_dump(values))
    assert params_sha256(load_params(rewritten)) != params_sha256(params)


def test_environment_hash_follows_the_lock_file(tmp_path):
    (tmp_path / "requirements.lock").write_text("torch==1\n")
    first = environment_sha256(tmp_path)
    (tmp_path / "requirements.lock").write_text("torch==2\n")
    assert UNKNOWN != first != environment_sha256(tmp_path)


def package(folder, name, version):
    (folder / f"{name}-{version}.dist-info").mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(text)


def test_environment_hash_follows_what_is_installed_and_not_what_gets_on_the_path(tmp_path, monkeypatch):
    (tmp_path / "requirements.lock").write_text(
        "numpy==1\n    --hash=sha256:00\nsome-thing==2 ; python_version > '3'\n"
    )
    first = environment_sha256(tmp_path)
    package(tmp_path / "vendored", "Some_Thing", "9")
    monkeypatch.syspath_prepend(tmp_path / "vendored")
    assert environment_sha256(tmp_path) == first
    package(tmp_path / "site", "Some_Thing", "2")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "site"))
    second = environment_sha256(tmp_path)
    package(tmp_path / "site", "beside_it", "1")
    assert environment_sha256(tmp_path) == second != first


def test_folder_hash_sees_content_and_names_but_not_where_it_lies(tmp_path):
    def folder(name, **files):
        (tmp_path / name / "sub").mkdir(parents=True)
        for file, text in files.items():
            (tmp_path / name / "sub" / file).write_text(text)
        return folder_sha256(tmp_path / name)

    assert folder("one", a="1") == folder("two", a="1")
    assert len({folder("three", a="1"), folder("four", a="2"), folder("five", b="1")}) == 3
