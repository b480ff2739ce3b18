"""A small project with the real graph: dvc.yaml's stages, deps, params and outs, but commands that cost nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.flow_project import Project

ROOT = Path(__file__).parents[2]
STAGE_PROGRAM = Path(__file__).parents[1] / "helpers" / "cheap_stage.py"


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One Prefect database for all tests: making it takes longer than using it."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="session")
def environment(prefect_home: Path) -> dict[str, str]:
    env = os.environ | {
        "DVC_NO_ANALYTICS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_HOME": str(prefect_home),
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src"))),
    }
    env.pop("PREFECT_API_URL", None)
    return env


@pytest.fixture(scope="session")
def fresh_project(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    project = Project(tmp_path_factory.mktemp("fresh"), environment)
    subprocess.run(("git", "init", "--quiet"), cwd=project.root, check=True)
    project.dvc("init", "--quiet")
    shutil.copy(STAGE_PROGRAM, project.root)
    shutil.copy(ROOT / "params.yaml", project.root)
    _write_graph(project.root)
    (project.root / "data").mkdir()
    (project.root / "data" / "annotations.jsonl").write_text("{}\n")
    project.dvc("add", "--quiet", "data")
    return project.root


@pytest.fixture(scope="session")
def done_project(tmp_path_factory: pytest.TempPathFactory, fresh_project: Path, environment: dict[str, str]) -> Path:
    project = _copy(fresh_project, tmp_path_factory.mktemp("done") / "project", environment)
    project.dvc("repro")
    return project.root


@pytest.fixture
def project(tmp_path: Path, fresh_project: Path, environment: dict[str, str]) -> Project:
    """A project with data and nothing run yet."""
    return _copy(fresh_project, tmp_path / "project", environment)


@pytest.fixture
def finished(tmp_path: Path, done_project: Path, environment: dict[str, str]) -> Project:
    """A project whose stages have all run; `ran` still tells of them."""
    return _copy(done_project, tmp_path / "project", environment)


def _copy(source: Path, target: Path, environment: dict[str, str]) -> Project:
    shutil.copytree(source, target)
    return Project(target, environment)


def _write_graph(root: Path) -> None:
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    for name, stage in graph["stages"].items():
        stage["cmd"] = f"python cheap_stage.py {name}"
        for source in (dep for dep in stage["deps"] if dep.startswith("src/")):
            path = root / source
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
    (root / "dvc.yaml").write_text(yaml.safe_dump(graph))
