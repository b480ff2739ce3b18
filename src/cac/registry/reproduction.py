"""The lineage recorded in a version's tags, read in order to reproduce the version and to compare the result with it.

Out of scope: the reproduction itself, which needs DVC (`flows/reproduce.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.io.git import read_git
from cac.params import load_params
from cac.registry.versions import get_aliases, get_complete_version
from cac.tracking.lineage import outputs_from_tags
from cac.tracking.mlflow_runs import connect
from cac.tracking.run_state import UNKNOWN

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MISSING = "missing"
_STATE = {"data": "data_md5", "settings": "params_sha256", "environment": "environment_sha256"}


@dataclass(frozen=True)
class HashComparison:
    """One line of a comparison: a stage (or "–"), the item, its recorded hash and its hash now.

    `counts` is false for an item that may differ in a successful reproduction.
    """

    stage: str
    what: str
    recorded: str
    now: str
    counts: bool = True

    @property
    def same(self) -> bool:
        """Whether both hashes are the same."""
        return self.recorded == self.now


@dataclass(frozen=True)
class RecordedLineage:
    """A version's recorded lineage: its commit, the tags of its run state, and {stage: {path: md5}}."""

    version: str
    commit: str
    state: Mapping[str, str]
    outputs: Mapping[str, Mapping[str, str]]

    def compare_state(self, now: Mapping[str, str]) -> list[HashComparison]:
        """Compare data, settings and environment with the tags of a run state."""
        return [
            HashComparison("–", what, self.state.get(tag, UNKNOWN), now.get(tag, UNKNOWN), counts=what != "environment")
            for what, tag in _STATE.items()
        ]

    def compare_outputs(self, now: Mapping[str, Mapping[str, str]]) -> list[HashComparison]:
        """Compare each stage's recorded outputs with those of now; an output that does not exist is "missing"."""
        order = [
            *(stage for stage in now if stage in self.outputs),
            *(stage for stage in self.outputs if stage not in now),
        ]
        return [
            HashComparison(stage, path, md5, now.get(stage, {}).get(path, MISSING))
            for stage in order
            for path, md5 in sorted(self.outputs[stage].items())
        ]


def read_recorded_lineage(root: Path, name: str) -> RecordedLineage:
    """Return the recorded lineage of a version, given by number or alias, if it can be reproduced from `root`.

    Raises:
        CacError: there is no such version; it was made from uncommitted changes; its commit is not in this repository;
            or it has no hashes of its stages.
    """
    version = _version(load_params(root / "params.yaml").registry.model_name, name)
    tags, label = version.tags, f"{version.name} version {version.version}"
    commit = tags.get("git_commit", UNKNOWN)
    if commit == UNKNOWN:
        raise CacError(f"{label} names no commit: it was not registered in a git repository. Register one that was.")
    if tags.get("git_dirty") != "false":
        raise CacError(
            f"{label} was registered from a checkout with changes that commit {commit[:12]} does not hold, so nobody "
            "can check out what it was made from. Commit them and run `cac register` again: it then names that commit."
        )
    if read_git(root, "rev-parse", "--quiet", "--verify", "--end-of-options", f"{commit}^{{commit}}") is None:
        raise CacError(
            f"{label} was made from commit {commit}, which is not in this repository. Get it: `git fetch --all`."
        )
    outputs = outputs_from_tags(tags)
    if not outputs:
        raise CacError(f"{label} has no hashes of its stages: it was registered without dvc.lock. Reproduce another.")
    return RecordedLineage(str(version.version), commit, dict(tags), outputs)


def _version(model_name: str, name: str) -> "ModelVersion":
    client = connect()
    held = get_aliases(client, model_name)
    if not name.isdecimal() and name not in held:
        there = ", ".join(sorted(held)) or "none"
        raise CacError(f"{model_name} has no alias {name}; there are: {there}. `cac registry` lists all versions.")
    return get_complete_version(client, model_name, held.get(name, name))
