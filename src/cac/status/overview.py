"""The whole system as plain data: each part is asked by itself, and one that cannot be told keeps no other from it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cac.errors import CacError
from cac.io.git import read_git
from cac.params import Params
from cac.status.data_version import DataVersion, data_version
from cac.status.flow_runs import FlowRuns, flow_runs
from cac.status.models import Models, in_window, models, store_exists
from cac.status.stages import FRESH, Stage, stage_states
from cac.tracking.run_state import git_state

if TYPE_CHECKING:
    from cac.monitoring.records import Record

Part = TypeVar("Part")

IDLE, AT_WORK, VETO_WINDOW, INTERRUPTED = "idle", "at work", "waits for a veto", "interrupted"
_RETRAINING = Path(".retraining")


@dataclass(frozen=True)
class Code:
    """The checkout: its commit, its branch ("HEAD" if detached), and whether there are uncommitted changes."""

    commit: str
    branch: str
    dirty: str


@dataclass(frozen=True)
class Retraining:
    """Where the retraining stands: IDLE, AT_WORK, VETO_WINDOW or INTERRUPTED, and what there is to know of it."""

    state: str
    detail: str


@dataclass(frozen=True)
class Overview:
    """Everything. A part that could not be told is None, and `unknown` says why, {part: reason}.

    `attention` are the things that ask for a person, each with what to do.
    """

    at: str
    root: str
    code: Code
    data: DataVersion
    stages: tuple[Stage, ...]
    models: Models | None
    runs: FlowRuns | None
    retraining: Retraining
    drift: "Record | None"
    unknown: dict[str, str]
    attention: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, with what follows from the parts."""
        return {**asdict(self), "champion_is_of_this_data": self.champion_fits}

    @property
    def champion_fits(self) -> bool | None:
        """Whether the champion was trained on the data that is there now; None if nobody knows, or there is none."""
        champion = self.models.champion if self.models else None
        return None if champion is None else champion.data_md5 == self.data.md5


def overview(root: Path, params: Params) -> Overview:
    """Return how the system of the project at `root` stands now.

    Raises:
        CacError: `root` is no project's: there is no data.dvc, or DVC's files cannot be read.
    """
    now, unknown = datetime.now(UTC), dict[str, str]()
    data, stages = data_version(root), tuple(stage_states(root))
    found = _tell("models", lambda: models(params), unknown)
    runs = _tell("runs", lambda: flow_runs(root, now), unknown)
    drift = None
    if found is None:
        unknown["drift"] = "kept in MLflow"
    else:
        drift = _tell("drift", lambda: _last_drift(params), unknown)
    commit, dirty = git_state(root)
    branch = read_git(root, "rev-parse", "--abbrev-ref", "HEAD") or "unknown"
    retraining = _retraining(root, found, runs, now)
    told = Overview(
        at=now.isoformat(timespec="seconds"),
        root=str(root),
        code=Code(commit, branch, dirty),
        data=data,
        stages=stages,
        models=found,
        runs=runs,
        retraining=retraining,
        drift=drift,
        unknown=unknown,
        attention=(),
    )
    return Overview(**{**vars(told), "attention": tuple(_attention(told))})


def _tell(part: str, ask: Callable[[], Part], unknown: dict[str, str]) -> Part | None:
    try:
        return ask()
    except CacError as error:
        unknown[part] = str(error)
        return None


def _last_drift(params: Params) -> "Record | None":
    from cac.monitoring.records import last_record

    return last_record(params) if store_exists() else None


def _retraining(root: Path, found: Models | None, runs: FlowRuns | None, now: datetime) -> Retraining:
    active = next((run for run in runs.runs if run.flow == "retraining" and run.is_active), None) if runs else None
    challenger = found.challenger if found else None
    if challenger and in_window(challenger, now) and (active or runs is None):
        return Retraining(VETO_WINDOW, f"version {challenger.version} goes to the gate at {challenger.veto_until}")
    if active:
        return Retraining(AT_WORK, f"{active.name}, {active.state_name}")
    if runs is not None and (root / _RETRAINING).is_dir():
        commit = read_git(root / _RETRAINING, "rev-parse", "--short", "HEAD") or "unknown"
        return Retraining(INTERRUPTED, f"at commit {commit}; the next one goes on")
    return Retraining(IDLE, "")


def _attention(told: Overview) -> list[str]:
    return [*_about_data(told), *_about_models(told), *_about_work(told)]


def _about_data(told: Overview) -> list[str]:
    found = []
    if told.data.folder == "differs":
        found.append("data/ is not what data.dvc names: `dvc add data` if it is right, else see `make data`")
    if told.data.folder == "missing":
        found.append("data/ is not there: `make data`")
    stale = [stage.name for stage in told.stages if stage.state != FRESH]
    if stale:
        found.append(f"{len(stale)} of {len(told.stages)} stages are stale: `make run`")
    elif any(stage.missing for stage in told.stages):
        found.append("results of up-to-date stages are not in this checkout: `dvc pull`, or `make run`")
    return found


def _about_models(told: Overview) -> list[str]:
    if told.models is None:
        return []
    if told.models.champion is None:
        return ["there is no champion: `make run`"]
    found = []
    if told.champion_fits is False:
        found.append(
            f"the champion, version {told.models.champion.version}, was trained on other data "
            f"({told.models.champion.data_md5[:8]}): `make run`, or a retraining"
        )
    challenger = told.models.challenger
    if challenger and told.retraining.state == VETO_WINDOW:
        found.append(
            f'{told.retraining.detail}; to keep it from that: `cac veto --version {challenger.version} --reason "…"`'
        )
    elif challenger and not challenger.gate and not challenger.vetoed and told.retraining.state == IDLE:
        found.append(
            f"version {challenger.version} was never put to the gate: `cac promote --version {challenger.version}`"
        )
    return found


def _about_work(told: Overview) -> list[str]:
    found = []
    if told.drift and told.drift.outcome == "drift" and not told.drift.accepted:
        found.append(
            f"production has drifted in {', '.join(told.drift.drifted)}: deliver new clips; or, if that is what "
            f"production looks like now: `cac drift accept {told.drift.run_id}`"
        )
    ended = [run for run in told.runs.runs if not run.is_active] if told.runs else []
    latest: dict[str, str] = {}
    for run in ended:
        latest.setdefault(run.flow, run.state)
    bad = [flow for flow, state in latest.items() if state in ("FAILED", "CRASHED")]
    found += [f"the last run of {flow} failed" for flow in bad]
    found += [f"{part}: {why}" for part, why in told.unknown.items() if part != "drift"]
    return found
