"""Lineage that is true: what a stage reads must not change while it runs, and a version must be what dvc.lock says.

A fingerprint (`fingerprint.py`) says what lies in the checkout when it is taken. Two things could make a lie of it. An
input that changes during a stage: DVC hashes inputs after the command, so dvc.lock would name what was not read. And a
checkout that has moved on since its stages ran. The first is looked for by the stage and by the flow, the second when a
version is registered. A commit or an edit that touches no input is no change, for both states then make the same.

A version registered from a checkout without dvc.lock has no such lineage, and says so: "unknown".
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
from cac.tracking.dvc_files import Locked, locked_stages, md5_of, stage_inputs
from cac.tracking.run_state import UNKNOWN, Fingerprint, environment_sha256, params_sha256

ENVIRONMENT = "the environment"
_STAGE_TAG = "dvc_outputs."
_SHOWN = 5


@contextmanager
def unchanged(root: Path, stage: str) -> Iterator[dict[str, str]]:
    """Yield what a stage reads as it begins, {name: hash}, and see at the end that it still is the same.

    Raises:
        CacError: at the end, if code, data, settings, an earlier stage's result or the environment is another. The
            stage's checkpoints are gone then, for they may come from both.
    """
    before = _state(root, stage)
    yield before
    changed = differences(before, _state(root, stage))
    if changed:
        shutil.rmtree(root / CHECKPOINTS / stage, ignore_errors=True)
        raise CacError(
            f"{named(changed)} changed while {stage} ran, so nobody can say what its result is made from. It is not "
            f"kept: run `dvc repro --force {stage}`, and leave alone what it reads meanwhile."
        )


def _state(root: Path, stage: str) -> dict[str, str]:
    return {**stage_inputs(root, stage), ENVIRONMENT: environment_sha256(root)}


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the names whose value is not the same in both, sorted."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def named(names: Sequence[str]) -> str:
    """Return names for a message, the first few if they are many."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def check_lineage(root: Path, params: Params, state: Fingerprint) -> dict[str, Locked]:
    """Return what dvc.lock says, after seeing that it is what lies under `root`; empty without dvc.lock.

    Raises:
        CacError: inputs or outputs of a stage, data.dvc or the settings are not those of dvc.lock.
    """
    stages, md5 = locked_stages(root), cache(md5_of)
    for stage, locked in stages.items():
        stale = differences(locked.inputs, stage_inputs(root, stage, md5))
        stale += [path for path, recorded in locked.outputs.items() if md5(root / path) != recorded]
        if stale:
            raise CacError(
                f"{named(stale)}: not what {root / DVC_LOCK} says of {stage}, so a version would get a false lineage. "
                "Run `dvc repro`, or `dvc checkout` if results are missing, and register then."
            )
        if state.data_md5 not in (UNKNOWN, locked.inputs.get("data", state.data_md5)):
            raise CacError(
                f"{root / DATA_DVC} and {root / DVC_LOCK} name different data. Run `make data`, then `dvc repro`."
            )
    if stages and params_sha256(load_params(root / "params.yaml")) != params_sha256(params):
        raise CacError(f"the settings given are not those of {root / 'params.yaml'}, which the stages ran with.")
    return stages


def stage_tags(stages: Mapping[str, Locked]) -> dict[str, str]:
    """Return a tag for each stage: DVC's hashes of what it made, as JSON."""
    return {f"{_STAGE_TAG}{name}": json.dumps(locked.outputs, sort_keys=True) for name, locked in stages.items()}


def recorded_outputs(tags: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return {stage: {path: md5}} out of a version's tags."""
    return {
        key.removeprefix(_STAGE_TAG): json.loads(value)
        for key, value in sorted(tags.items())
        if key.startswith(_STAGE_TAG)
    }


def lineage_json(state: Fingerprint, stages: Mapping[str, Locked]) -> str:
    """Return the whole lineage as JSON for people: the fingerprint, and each stage's inputs and outputs."""
    content = {**state.tags(), "stages": {name: vars(locked) for name, locked in stages.items()}}
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
