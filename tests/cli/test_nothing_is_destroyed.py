"""Every verb checks its inputs first: with a wrong one it changes nothing, says what is wrong, and exits with 2."""

import argparse
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from helpers import wrong_inputs
from helpers.tiny_versions import Tiny, make_version
from helpers.wrong_inputs import DATA, FLOWS, MODELS, SPOILED, Wrong, make_project

import flows.__main__
from cac.cli import flow_arguments
from cac.cli import main as cli
from cac.params import load_params

Main = Callable[[Sequence[str]], int]
CAC = DATA | MODELS
CASES = [
    pytest.param(
        main, [*verb.split(), *wrong.command.split()], wrong, id=f"{name} {verb} {wrong.command} {wrong.spoil}"
    )
    for name, main, table in (("cac", cli.main, CAC), ("flows", flows.__main__.main, FLOWS))
    for verb, wrongs in table.items()
    for wrong in wrongs
]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, small_dataset: Path, migrated_store: Path) -> Path:
    """A project folder; its store has one version, whose model cannot be loaded."""
    store = tmp_path_factory.mktemp("store")
    (store / ".mlflow" / "artifacts").mkdir(parents=True)
    shutil.copy(migrated_store, store / ".mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(store)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/.mlflow/mlflow.db")
        registry = load_params(wrong_inputs.ROOT / "params.yaml").registry
        make_version(Tiny(), registry.model_name, registry.experiment)
    folder = tmp_path_factory.mktemp("template") / "project"
    make_project(folder, small_dataset, store)
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the template as the current folder, with its own store; the environment is put back afterwards."""
    environment = dict(os.environ)
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME"):
        os.environ.pop(name, None)
    monkeypatch.chdir(shutil.copytree(template, tmp_path / "project"))
    yield tmp_path / "project"
    os.environ.clear()
    os.environ.update(environment)


def snapshot(folder: Path) -> dict[str, str]:
    """Return {path: hash of the content} of everything below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "/"
        for path in folder.rglob("*")
    }


def exit_code(main: Main, command: Sequence[str]) -> int:
    try:
        return main(command)
    except SystemExit as error:  # of argparse
        return int(error.code or 0)


@pytest.mark.parametrize(("main", "command", "wrong"), CASES)
def test_a_wrong_input_changes_nothing(
    main: Main, command: list[str], wrong: Wrong, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = sorted(path.stem for path in (project / "data" / "clips").iterdir())[0]
    SPOILED[wrong.spoil](project)
    before = snapshot(project.parent)
    code = exit_code(main, [word.replace("{clip}", clip) for word in command])
    message = capsys.readouterr().err
    assert snapshot(project.parent) == before
    assert code == 2, message
    assert wrong.says.replace("{clip}", clip) in message
    assert "Traceback" not in message


def test_every_verb_is_in_the_table() -> None:
    assert set(_verbs(cli.build_parser())) == CAC.keys()
    assert {verb.name for verb in flow_arguments._VERBS} == FLOWS.keys()


def _verbs(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the verbs of a parser, such as "data build"."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield " ".join(path)
    for group in groups:
        for name, verb in group.choices.items():
            yield from _verbs(verb, (*path, name))


@pytest.mark.parametrize("verb", CAC)
def test_an_unknown_option_changes_nothing(verb: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(project.parent)
    assert exit_code(cli.main, [*verb.split(), "--typo"]) == 2
    assert re.search(r"usage: cac ", capsys.readouterr().err)
    assert snapshot(project.parent) == before
