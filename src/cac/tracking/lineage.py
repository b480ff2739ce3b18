"""Correct lineage: a stage's inputs must not change while it runs, and a version must match dvc.lock.

A run state (`run_state.py`) describes the checkout when it is read. Two things could make it wrong. An input may change
during a stage: DVC hashes inputs after the command, so dvc.lock would name content that was not read. And the checkout
may have changed since its stages ran. The stage and the flow check the first, registration checks the second. A commit
or an edit that touches no input does not count as a change.

A version registered from a checkout without dvc.lock has the lineage "unknown".
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from cac.errors import CacError
from cac.params import Params, load_params
from cac.paths import CHECKPOINTS, DATA_DVC, DVC_LOCK
from cac.tracking.dvc_files import LockedStage, md5_of, read_locked_stages, stage_inputs
from cac.tracking.run_state import UNKNOWN, RunState, environment_sha256, params_sha256

ENVIRONMENT = "the environment"
_STAGE_TAG = "dvc_outputs."
_SHOWN = 5


@contextmanager
def guard_inputs(root: Path, stage: str) -> Iterator[dict[str, str]]:
    """Yield a stage's inputs as it begins, {name: hash}, and check at the end that they are the same.

    Raises:
        CacError: at the end, if code, data, settings, an earlier stage's result or the environment has changed. The
            stage's checkpoints are then removed, because they may mix both states.
    """
    before = _state(root, stage)
    yield before
    changed = changed_keys(before, _state(root, stage))
    if changed:
        shutil.rmtree(root / CHECKPOINTS / stage, ignore_errors=True)
        raise CacError(
            f"{join_names(changed)} changed while {stage} ran, so its result can't be traced to its inputs. It was not "
            f"kept. Run `dvc repro --force {stage}`, and don't change its inputs meanwhile."
        )


def _state(root: Path, stage: str) -> dict[str, str]:
    return {**stage_inputs(root, stage), ENVIRONMENT: environment_sha256(root)}


def changed_keys(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the keys whose values differ, sorted."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def join_names(names: Sequence[str]) -> str:
    """Join names for a message; of many, only the first few."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def check_lineage(root: Path, params: Params, state: RunState) -> dict[str, LockedStage]:
    """Return the stages of dvc.lock, after checking that they match the files under `root`; empty without dvc.lock.

    Raises:
        CacError: inputs or outputs of a stage, data.dvc or the settings differ from dvc.lock.
    """
    stages, md5 = read_locked_stages(root), cache(md5_of)
    for stage, locked in stages.items():
        stale = changed_keys(locked.inputs, stage_inputs(root, stage, md5))
        stale += [path for path, recorded in locked.outputs.items() if md5(root / path) != recorded]
        if stale:
            raise CacError(
                f"{join_names(stale)}: not what {root / DVC_LOCK} records for {stage}, so the version's lineage would "
                "be false. Run `dvc repro`, or `dvc checkout` if results are missing, then register again."
            )
        if state.data_md5 not in (UNKNOWN, locked.inputs.get("data", state.data_md5)):
            raise CacError(
                f"{root / DATA_DVC} and {root / DVC_LOCK} name different data. Run `make data`, then `dvc repro`."
            )
    if stages and params_sha256(load_params(root / "params.yaml")) != params_sha256(params):
        raise CacError(f"the settings given are not those of {root / 'params.yaml'}, which the stages ran with.")
    return stages


def stage_tags(stages: Mapping[str, LockedStage]) -> dict[str, str]:
    """Return one tag a stage: DVC's hashes of its outputs, as JSON."""
    return {f"{_STAGE_TAG}{name}": json.dumps(locked.outputs, sort_keys=True) for name, locked in stages.items()}


def outputs_from_tags(tags: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return {stage: {path: md5}} from a version's tags."""
    return {
        key.removeprefix(_STAGE_TAG): json.loads(value)
        for key, value in sorted(tags.items())
        if key.startswith(_STAGE_TAG)
    }


def lineage_json(state: RunState, stages: Mapping[str, LockedStage]) -> str:
    """Return the whole lineage as JSON for people: the run state, and each stage's inputs and outputs."""
    content = {**state.tags(), "stages": {name: vars(locked) for name, locked in stages.items()}}
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
