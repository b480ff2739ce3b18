"""Which stages of dvc.yaml `dvc repro` would run again, and why, found without DVC in under a second.

A stage is compared with its entry in dvc.lock: command, inputs, settings and outputs. The dataset is assumed to match
`data.dvc`, so no clip is read. A missing output of an earlier stage is no reason to run, because DVC takes it from its
cache. Out of scope: the cache itself, and graphs other than dvc.yaml.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cac.paths import DATASET, DVC_YAML
from cac.tracking.dvc_files import LockedStage, md5_of, read_lock_entries, read_locked_stages, read_yaml, stage_inputs
from cac.tracking.lineage import changed_keys
from cac.tracking.run_state import UNKNOWN, data_md5

FRESH, STALE, NEVER_RAN = "up to date", "would run again", "never ran"
_MISSING = "missing"  # what `md5_of` says


@dataclass(frozen=True)
class Stage:
    """A stage: its state (FRESH, STALE or NEVER_RAN), why it is not fresh, and which of its results are not there."""

    name: str
    state: str
    why: tuple[str, ...]
    missing: tuple[str, ...]


def stage_states(root: Path) -> list[Stage]:
    """Return the stages of dvc.yaml in its order; none without the file.

    Raises:
        CacError: dvc.yaml or dvc.lock cannot be read.
    """
    graph = read_yaml(root / DVC_YAML).get("stages", {}) if (root / DVC_YAML).is_file() else {}
    commands = {name: entry.get("cmd") for name, entry in read_lock_entries(root).items()}
    locked, hashes = read_locked_stages(root), cache(_hash_of(root))
    makers = {out: name for name, entry in graph.items() for out in _outs(entry)}
    own = {
        name: _own_reasons(root, name, entry, commands.get(name), locked.get(name), makers, hashes)
        for name, entry in graph.items()
    }
    return [_stage(root, name, graph, own, locked, makers) for name in graph]


def _hash_of(root: Path) -> Any:
    """Return what hashes a path, the dataset by its name in `data.dvc`."""
    named = data_md5(root)

    def hash_of(path: Path) -> str:
        return named if path == root / DATASET and named != UNKNOWN else md5_of(path)

    return hash_of


def _outs(entry: Mapping[str, Any]) -> list[str]:
    """Return the paths a stage makes; dvc.yaml writes some of them as {path: options}."""
    listed = [*entry.get("outs", []), *entry.get("metrics", [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in listed]


def _maker(path: str, makers: Mapping[str, str]) -> str | None:
    """Return the stage that makes a path, or the folder it lies in."""
    return next((name for out, name in makers.items() if path == out or path.startswith(f"{out}/")), None)


def _own_reasons(
    root: Path,
    name: str,
    entry: Mapping[str, Any],
    command: str | None,
    locked: LockedStage | None,
    makers: Mapping[str, str],
    hashes: Any,
) -> tuple[str, ...]:
    """Return what of a stage itself is not as dvc.lock says."""
    if locked is None:
        return ()
    now = stage_inputs(root, name, hashes)
    kept = {path: md5 for path, md5 in now.items() if not (md5 == _MISSING and _maker(path, makers))}
    before = {path: md5 for path, md5 in locked.inputs.items() if path in kept or path not in now}
    made = {out: hashes(root / out) for out in _outs(entry)}
    changed = [out for out, md5 in made.items() if md5 not in (_MISSING, locked.outputs.get(out))]
    return (
        *(["its command"] if entry.get("cmd") != command else []),
        *(path.removeprefix("params.yaml:") for path in changed_keys(before, kept)),
        *(f"its result {out}" for out in changed),
    )


def _stage(
    root: Path,
    name: str,
    graph: Mapping[str, Any],
    own: Mapping[str, tuple[str, ...]],
    locked: Mapping[str, LockedStage],
    makers: Mapping[str, str],
) -> Stage:
    stale = _stale_before(name, graph, own, locked, makers)
    missing = tuple(out for out in _outs(graph[name]) if not (root / out).exists())
    if name not in locked:
        return Stage(name, NEVER_RAN, (), missing)
    why = own[name] or tuple(f"follows {before}" for before in stale)
    return Stage(name, STALE if why else FRESH, why, missing)


def _stale_before(
    name: str,
    graph: Mapping[str, Any],
    own: Mapping[str, tuple[str, ...]],
    locked: Mapping[str, LockedStage],
    makers: Mapping[str, str],
) -> list[str]:
    """Return the stages right before this one that would run, for their own reasons or for those before them."""
    before = dict.fromkeys(_maker(dep, makers) for dep in graph[name].get("deps", []))
    return [
        stage
        for stage in before
        if stage
        and stage != name
        and (stage not in locked or own[stage] or _stale_before(stage, graph, own, locked, makers))
    ]
