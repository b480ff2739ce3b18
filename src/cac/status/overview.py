"""The state of the whole system as plain data. Each part is read separately, so one unavailable part hides no other."""

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
    """The state of the retraining (IDLE, AT_WORK, VETO_WINDOW or INTERRUPTED) and its details."""

    state: str
    detail: str


@dataclass(frozen=True)
class Overview:
    """The state of all parts. A part that could not be read is None, and `unknown` has the reason, {part: reason}.

    `attention` lists the problems that need a person, each with the command to run.
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
        """Return JSON-ready data, including the derived fields."""
        return {**asdict(self), "champion_is_of_this_data": self.champion_fits}

    @property
    def champion_fits(self) -> bool | None:
        """Whether the champion was trained on the current data; None if there is no champion or it is unknown."""
        champion = self.models.champion if self.models else None
        return None if champion is None else champion.data_md5 == self.data.md5


def overview(root: Path, params: Params) -> Overview:
    """Return the current state of the project at `root`.

    Raises:
        CacError: `root` has no data.dvc, or DVC's files cannot be read.
    """
    now, unknown = datetime.now(UTC), dict[str, str]()
    data, stages = data_version(root), tuple(stage_states(root))
    found = _read_part("models", lambda: models(params), unknown)
    runs = _read_part("runs", lambda: flow_runs(root, now), unknown)
    drift = None
    if found is None:
        unknown["drift"] = "stored in MLflow"
    else:
        drift = _read_part("drift", lambda: _last_drift(params), unknown)
    commit, dirty = git_state(root)
    branch = read_git(root, "rev-parse", "--abbrev-ref", "HEAD") or "unknown"
    retraining = _retraining(root, found, runs, now)
    status = Overview(
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
    return Overview(**{**vars(status), "attention": tuple(_attention(status))})


def _read_part(part: str, read: Callable[[], Part], unknown: dict[str, str]) -> Part | None:
    try:
        return read()
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
        return Retraining(INTERRUPTED, f"at commit {commit}; the next run resumes it")
    return Retraining(IDLE, "")


def _attention(status: Overview) -> list[str]:
    return [*_about_data(status), *_about_models(status), *_about_work(status)]


def _about_data(status: Overview) -> list[str]:
    found = []
    if status.data.folder == "differs":
        found.append("data/ is not what data.dvc names: `dvc add data` if it is right, else see `make data`")
    if status.data.folder == "missing":
        found.append("data/ is not there: `make data`")
    stale = [stage.name for stage in status.stages if stage.state != FRESH]
    if stale:
        found.append(f"{len(stale)} of {len(status.stages)} stages are stale: `make run`")
    elif any(stage.missing for stage in status.stages):
        found.append("results of up-to-date stages are not in this checkout: `dvc pull`, or `make run`")
    return found


def _about_models(status: Overview) -> list[str]:
    if status.models is None:
        return []
    if status.models.champion is None:
        return ["there is no champion: `make run`"]
    found = []
    if status.champion_fits is False:
        found.append(
            f"the champion, version {status.models.champion.version}, was trained on other data "
            f"({status.models.champion.data_md5[:8]}): `make run`, or a retraining"
        )
    challenger = status.models.challenger
    if challenger and status.retraining.state == VETO_WINDOW:
        found.append(
            f'{status.retraining.detail} unless you stop it: `cac veto --version {challenger.version} --reason "…"`'
        )
    elif challenger and not challenger.gate and not challenger.vetoed and status.retraining.state == IDLE:
        found.append(
            f"version {challenger.version} has not been through the gate: `cac promote --version {challenger.version}`"
        )
    return found


def _about_work(status: Overview) -> list[str]:
    found = []
    if status.drift and status.drift.outcome == "drift" and not status.drift.accepted:
        found.append(
            f"production has drifted in {', '.join(status.drift.drifted)}: deliver new clips; or, if that is what "
            f"production looks like now: `cac drift accept {status.drift.run_id}`"
        )
    ended = [run for run in status.runs.runs if not run.is_active] if status.runs else []
    latest: dict[str, str] = {}
    for run in ended:
        latest.setdefault(run.flow, run.state)
    bad = [flow for flow, state in latest.items() if state in ("FAILED", "CRASHED")]
    found += [f"the last run of {flow} failed" for flow in bad]
    found += [f"{part}: {why}" for part, why in status.unknown.items() if part != "drift"]
    return found
