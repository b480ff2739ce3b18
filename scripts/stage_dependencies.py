"""Write the modules that each stage imports into both `dvc.yaml` files: `python -m scripts.stage_dependencies`.

DVC re-runs a stage when a file it depends on changes, so the lists must be complete, and they are too long to maintain
by hand. `tests/flows/test_graph.py` fails when a list is out of date. The rest of both files, comments included, is
unchanged.
"""

import ast
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENTRY_POINTS = {
    "validate": "cac.data.validation.validate",
    "single_frame_sft": "cac.training.single_frame_sft",
    "multi_frame_sft": "cac.training.multi_frame_sft",
    "two_turn_grpo": "cac.training.two_turn_grpo",
    "evaluate": "cac.evaluation.evaluate",
}
ABLATION_ENTRY_POINTS = {"run": "cac.ablation.run", "table": "cac.ablation.table"}
# Not results: error texts and what is logged to MLflow. Settings are listed as params instead.
NOT_TRACKED = (
    "src/cac/params.py",
    "src/cac/frames.py",
    "src/cac/setting_types.py",
    "src/cac/params_errors.py",
    "src/cac/errors.py",
    "src/cac/paths.py",
    "src/cac/tracking/",
    "src/cac/registry/",
)


def imported_files(entry_point: str) -> list[str]:
    """Return the sorted files of all modules of `cac` that a module imports, itself and lazy imports included.

    Type checking imports do not count, nor do the `__init__.py` files of packages, which have no code.
    """
    seen: set[str] = set()
    waiting = [entry_point]
    while waiting:
        path = _file(waiting.pop())
        if path is None or path in seen or path.startswith(NOT_TRACKED):
            continue
        seen.add(path)
        waiting += _imported_modules(ast.parse((ROOT / path).read_text(encoding="utf-8")))
    return sorted(path for path in seen if not path.endswith("__init__.py"))


def _file(module: str) -> str | None:
    path = Path("src", *module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / candidate).is_file():
            return str(candidate)
    return None


def _imported_modules(tree: ast.AST) -> list[str]:
    names: list[str] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cac":
            names += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names if alias.name.split(".")[0] == "cac"]
        names += _imported_modules(node)
    return names


def with_dependencies(text: str, entry_points: dict[str, str], prefix: str = "") -> str:
    """Return the text of a `dvc.yaml` with the modules that each stage imports as dependencies.

    Other dependencies (data, models, metrics, the nano's weights) stay and come first.

    Args:
        text: the current text.
        entry_points: the module that each stage runs.
        prefix: from the file's folder to the project's root, such as "../".
    """
    out: list[str] = []
    others: set[str] = set()
    stage, inside = "", False
    for line in text.split("\n"):
        if line.startswith("  ") and line[2] not in " #" and line.endswith(":"):
            stage = line.strip(" :")
        if inside and not line.startswith("      "):
            modules = {f"{prefix}{path}" for path in imported_files(entry_points[stage])}
            out += [f"      - {dependency}" for dependency in sorted(others | modules, key=_order)]
            inside = False
        if inside:
            dependency = line.strip().removeprefix("- ")
            if not dependency.startswith("#") and not _is_module(dependency):
                others.add(dependency)
            continue
        out.append(line)
        if line == "    deps:" and stage in entry_points:
            inside, others = True, set()
    return "\n".join(out)


def _is_module(dependency: str) -> bool:
    return "src/cac/" in dependency and dependency.endswith(".py")


def _order(dependency: str) -> tuple[bool, str]:
    """Sort data and results before code."""
    return "src/" in dependency, dependency


def stale_files() -> Iterable[tuple[Path, str]]:
    """Yield each outdated `dvc.yaml` and its correct text."""
    for path, entry_points, prefix in (
        (ROOT / "dvc.yaml", ENTRY_POINTS, ""),
        (ROOT / "ablations" / "dvc.yaml", ABLATION_ENTRY_POINTS, "../"),
    ):
        text = path.read_text(encoding="utf-8")
        wanted = with_dependencies(text, entry_points, prefix)
        if wanted != text:
            yield path, wanted


def main() -> int:
    """Update both files and return the exit code."""
    for path, text in stale_files():
        path.write_text(text, encoding="utf-8")
        print(f"updated {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
