"""dvc.yaml: the graph, and that what it says a stage depends on is what the stage imports and reads."""

import ast
import json
from functools import reduce
from pathlib import Path

import pytest
import yaml

from cac.params import load_params
from flows.steps import STAGES as FLOW_STAGES

ROOT = Path(__file__).parents[2]
GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = GRAPH["stages"]
ENTRY = {
    "validate": "cac.data.validation",
    "single_frame_sft": "cac.training.single_frame_sft",
    "multi_frame_sft": "cac.training.multi_frame_sft",
    "two_turn_grpo": "cac.training.two_turn_grpo",
    "evaluate": "cac.evaluation.evaluate",
}
# Settings reach a stage as the params it names; an error's text and what is logged to MLflow are no results.
NO_DEPENDENCY = ("src/cac/params.py", "src/cac/errors.py", "src/cac/layout.py", "src/cac/registry/", "__init__.py")


def test_stages_are_those_the_flow_runs():
    assert tuple(STAGES) == FLOW_STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_params_named_exist(stage):
    params = load_params(ROOT / "params.yaml")
    for key in STAGES[stage]["params"]:
        reduce(getattr, key.split("."), params)


@pytest.mark.parametrize("stage", ["single_frame_sft", "multi_frame_sft", "two_turn_grpo"])
def test_a_training_stage_reads_no_other_stages_settings(stage):
    others = {"single_frame_sft", "multi_frame_sft", "two_turn_grpo"} - {stage}
    assert stage in STAGES[stage]["params"]
    assert not others & set(STAGES[stage]["params"])


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_are_the_modules_imported(stage):
    imported = {path for path in _imports(ENTRY[stage]) if not _is_no_dependency(path)}
    named = {path for dep in STAGES[stage]["deps"] if dep.startswith("src/") for path in _python_files(ROOT / dep)}
    missing, needless = sorted(imported - named), sorted(named - imported)
    assert not missing, f"{stage} imports what dvc.yaml does not name: {missing}"
    assert not needless, f"dvc.yaml names for {stage} what it does not import: {needless}"


def _is_no_dependency(path: str) -> bool:
    return path.startswith(NO_DEPENDENCY[:-1]) or path.endswith(NO_DEPENDENCY[-1])


def _python_files(path: Path) -> set[str]:
    files = path.rglob("*.py") if path.is_dir() else [path]
    return {str(file.relative_to(ROOT)) for file in files if file.suffix == ".py" and file.name != "__init__.py"}


def _imports(module: str) -> set[str]:
    """The files of all modules of `cac` that a module imports, itself included, also those imported in functions."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        path = _file(waiting.pop())
        if path is None or path in seen:
            continue
        seen.add(path)
        if not _is_no_dependency(path):
            waiting += _imported_names(ast.parse((ROOT / path).read_text()))
    return seen


def _file(module: str) -> str | None:
    path = Path("src", *module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / candidate).is_file():
            return str(candidate)
    return None


def _imported_names(tree: ast.AST) -> list[str]:
    names: list[str] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cac":
            names += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names if alias.name.split(".")[0] == "cac"]
        names += _imported_names(node)
    return names


def test_every_stage_runs_once_in_order(finished):
    assert finished.ran() == list(STAGES)


@pytest.mark.parametrize(
    ("section", "key", "expected"),
    [
        ("two_turn_grpo", "temperature", ["two_turn_grpo", "evaluate"]),
        ("evaluation", "bootstrap_samples", ["evaluate"]),
        ("multi_frame_sft", "steps", ["multi_frame_sft", "two_turn_grpo", "evaluate"]),
    ],
)
def test_a_setting_reruns_only_what_follows_from_it(finished, section, key, expected):
    finished.ran()
    finished.set_param(section, key, 3)
    finished.dvc("repro")
    assert finished.ran() == expected


def test_a_registry_setting_reruns_nothing(finished):
    lock = (finished.root / "dvc.lock").read_bytes()
    finished.ran()
    finished.set_param("registry", "experiment", "another")
    finished.dvc("repro")
    assert finished.ran() == []
    assert (finished.root / "dvc.lock").read_bytes() == lock


def test_every_plot_can_be_drawn(finished):
    shown = json.loads(finished.dvc("plots", "show", "--json"))
    assert "errors" not in shown
    assert set(shown["data"]) == {name for plot in GRAPH["plots"] for name in plot}
    assert all(plots and plots[0]["content"]["data"]["values"] for plots in shown["data"].values())
