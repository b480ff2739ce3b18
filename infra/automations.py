"""What a Prefect server must know besides deployments, as code: work pools, concurrency limits, automations.

`python -m infra.automations` brings the server at PREFECT_API_URL up to date and says what it changed; a second time
nothing. CAC_NOTIFY_BLOCK names the notification block that is told of failed runs and of what a retraining came to.
What an operator did by hand stays: a paused pool stays paused, a disabled automation disabled. Deployments and their
schedules are `prefect.yaml`'s; nothing is ever deleted here.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.cli.console import print_error
from cac.cli.main import EXIT_MISTAKE
from cac.errors import CacError

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

GPU_TEMPLATE = Path(__file__).parent / "kubernetes" / "gpu-job-template.json"
ZOMBIES = "crash-zombie-runs"
FAILURES, RETRAININGS = "notify-of-failures", "notify-of-retrainings"
NOTIFY_BLOCK = "CAC_NOTIFY_BLOCK"  # such as slack-webhook/ops; the address and its secrets are in the block

# Who trains takes a slot of `training` with strict=True: without it a limit that does not exist limits nothing.
LIMITS: Mapping[str, int] = {"training": 1, "promotion": 1}

# Prefect 3.8 sends a run's heartbeat every 180 s. Three may be late: a busy machine must not crash a healthy run.
ZOMBIE_AFTER = timedelta(seconds=3 * 180)
_ENDS = ("Completed", "Failed", "Cancelled", "Cancelling", "Crashed", "TimedOut")
_WAITS = ("Paused", "Suspended", "AwaitingRetry", "Scheduled", "Late", "Pending")


@dataclass(frozen=True)
class Pool:
    """A work pool we want: `slots` runs at a time; `template` says how a run becomes a job, None as Prefect has it."""

    name: str
    kind: str
    slots: int
    description: str
    template: Path | None = None


POOLS = (
    Pool("cac", "process", 2, "Runs as processes beside the worker, in its checkout."),
    Pool("cac-gpu", "kubernetes", 4, "Runs as Kubernetes jobs with a GPU.", GPU_TEMPLATE),
)


def apply(client: "SyncPrefectClient", zombie_after: timedelta = ZOMBIE_AFTER, notify: str | None = None) -> list[str]:
    """Bring the server behind `client` up to date and return what was changed, a line each.

    Args:
        client: of the server.
        zombie_after: how long a run's heartbeats may be missing.
        notify: the notification block that gets messages, as TYPE/NAME; None leaves messages as they are.

    Raises:
        CacError: a pool has another type, an automation is there twice, or there is no such block.
    """
    changes = [_apply_pool(client, pool) for pool in POOLS]
    changes += [_apply_limit(client, name, slots) for name, slots in LIMITS.items()]
    wanted = [zombie_automation(zombie_after), *(notify_automations(_block(client, notify)) if notify else ())]
    changes += [_apply_automation(client, automation) for automation in wanted]
    return [change for change in changes if change]


def zombie_automation(after: timedelta) -> "AutomationCore":
    """Return the automation that calls a run crashed whose heartbeats stopped for `after` without another state.

    A killed worker can no longer say that its run is over; the run would hold its concurrency slot for ever.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    heartbeat = "prefect.flow-run.heartbeat"
    trigger = EventTrigger(
        after={heartbeat},
        expect={heartbeat, *(f"prefect.flow-run.{state}" for state in (*_ENDS, *_WAITS))},
        match=ResourceSpecification.model_validate({"prefect.resource.id": "prefect.flow-run.*"}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=after,
    )
    message = f"No heartbeat for {after.total_seconds():.0f} s: the process that ran this is gone."
    return AutomationCore(
        name=ZOMBIES,
        description="Calls a run crashed when its process is gone without a word.",
        trigger=trigger,
        actions=[ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)],
    )


def notify_automations(block: "UUID") -> list["AutomationCore"]:
    """Return the automations that send a message by a notification block: on failed runs, retrainings, and drift.

    These carry a `message`: `cac.retraining.…` (flows/retraining.py), `cac.drift.found` (flows/monitoring.py).
    """
    failed = {f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut")}
    about_failure = "{{ flow.name }} {{ flow_run.name }}", "{{ flow_run.state.name }}: {{ flow_run.state.message }}"
    about_retraining = "{{ event.event }}", "{{ event.payload.message }}"
    return [
        _message(FAILURES, failed, about_failure, block),
        _message(RETRAININGS, {"cac.retraining.*", "cac.drift.found"}, about_retraining, block),
    ]


def _message(name: str, events: set[str], text: tuple[str, str], block: "UUID") -> "AutomationCore":
    """Return an automation that sends `text`, a subject and a body, on each of the events."""
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    return AutomationCore(
        name=name,
        description=f"Sends a message on {', '.join(sorted(events))}.",
        trigger=EventTrigger(expect=events, posture=Posture.Reactive, threshold=1, within=timedelta(0)),
        actions=[SendNotification(block_document_id=block, subject=text[0], body=text[1])],
    )


def _block(client: "SyncPrefectClient", slug: str) -> "UUID":
    """Return the id of the block document TYPE/NAME."""
    from prefect.exceptions import ObjectNotFound

    kind, _, name = slug.partition("/")
    try:
        return client.read_block_document_by_name(name, kind, include_secrets=False).id
    except ObjectNotFound as error:
        raise CacError(
            f"{NOTIFY_BLOCK}={slug}: the server has no such block. Make it, under Blocks in Prefect's pages, and name "
            "it as TYPE/NAME, such as slack-webhook/ops."
        ) from error


def _apply_pool(client: "SyncPrefectClient", pool: Pool) -> str | None:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    wanted: dict[str, Any] = {
        "description": pool.description,
        "concurrency_limit": pool.slots,
        "base_job_template": _template(pool),
    }
    try:
        there = client.read_work_pool(pool.name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=pool.name, type=pool.kind, **wanted))
        return f"made the work pool {pool.name}"
    if there.type != pool.kind:
        raise CacError(
            f"the work pool {pool.name} is of the type {there.type}, not {pool.kind}, and a pool's type cannot change. "
            f"Delete it (prefect work-pool delete {pool.name}) and run again."
        )
    if all(getattr(there, name) == value for name, value in wanted.items()):
        return None
    client.update_work_pool(pool.name, WorkPoolUpdate(**wanted))
    return f"changed the work pool {pool.name}"


def _template(pool: Pool) -> dict[str, Any]:
    if pool.template is not None:
        return json.loads(pool.template.read_text(encoding="utf-8"))
    from prefect.workers.process import ProcessWorker

    return ProcessWorker.get_default_base_job_template()


def _apply_limit(client: "SyncPrefectClient", name: str, slots: int) -> str | None:
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
    from prefect.exceptions import ObjectNotFound

    try:
        there = client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots))
        return f"made the concurrency limit {name}"
    if there.limit == slots:
        return None
    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=slots))
    return f"changed the concurrency limit {name}"


def _apply_automation(client: "SyncPrefectClient", wanted: "AutomationCore") -> str | None:
    there = client.read_automations_by_name(wanted.name)
    if not there:
        client.create_automation(wanted)
        return f"made the automation {wanted.name}"
    if len(there) > 1:
        raise CacError(
            f"the server has {len(there)} automations named {wanted.name}. Delete them "
            "(prefect automation ls; prefect automation delete --id ID) and run again."
        )
    parts = ("description", "trigger", "actions")
    if all(getattr(there[0], part) == getattr(wanted, part) for part in parts):
        return None
    client.update_automation(there[0].id, wanted)  # `enabled` is not set, so it is not sent and stays
    return f"changed the automation {wanted.name}"


def main() -> int:
    """Bring the server at PREFECT_API_URL up to date and return the exit code."""
    about = "Make the work pools, limits and automations of the server at PREFECT_API_URL what the code says."
    argparse.ArgumentParser(prog="python -m infra.automations", description=about).parse_args()
    if not os.environ.get("PREFECT_API_URL"):
        print_error('PREFECT_API_URL names no server. For the local stack: eval "$(python -m infra.stack env)"')
        return EXIT_MISTAKE
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            changes = apply(client, notify=os.environ.get(NOTIFY_BLOCK))
    except CacError as error:
        print_error(str(error))
        return EXIT_MISTAKE
    print("\n".join(changes) or "nothing to change")
    return 0


if __name__ == "__main__":
    sys.exit(main())
