"""Configuration of a Prefect server as code: work pools, concurrency limits, automations.

`python -m infra.automations` updates the server at PREFECT_API_URL and prints each change. A second run changes
nothing. CAC_NOTIFY_BLOCK names the notification block that receives failed runs, the results of retraining, and drift.
Manual changes by an operator stay: a paused pool stays paused, a disabled automation stays disabled. This module never
deletes anything. Out of scope: deployments and their schedules, which are in `prefect.yaml`.
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
from cac.errors import EXIT_MISTAKE, CacError

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

GPU_TEMPLATE = Path(__file__).parent / "kubernetes" / "gpu-job-template.json"
ZOMBIES = "crash-zombie-runs"
FAILURES, RETRAININGS = "notify-of-failures", "notify-of-retrainings"
NOTIFY_BLOCK = "CAC_NOTIFY_BLOCK"  # for example slack-webhook/ops; the block stores the address and its secrets

# Flows take a slot of `training` with strict=True. Without it, Prefect ignores a limit that does not exist.
LIMITS: Mapping[str, int] = {"training": 1, "promotion": 1}

# Prefect 3.8 sends a heartbeat every 180 s. We allow three missed ones, so that a busy machine does not crash a run.
ZOMBIE_AFTER = timedelta(seconds=3 * 180)
_FINAL_STATES = ("Completed", "Failed", "Cancelled", "Cancelling", "Crashed", "TimedOut")
_WAITING_STATES = ("Paused", "Suspended", "AwaitingRetry", "Scheduled", "Late", "Pending")


@dataclass(frozen=True)
class Pool:
    """A work pool with `slots` concurrent runs; `template` is its base job template, None for Prefect's default."""

    name: str
    kind: str
    slots: int
    description: str
    template: Path | None = None


POOLS = (
    Pool("cac", "process", 2, "Runs as processes beside the worker, in its checkout."),
    Pool("cac-gpu", "kubernetes", 4, "Runs as Kubernetes jobs with a GPU.", GPU_TEMPLATE),
)


@dataclass(frozen=True)
class Message:
    """The templates of a notification's subject and body, in Prefect's Jinja variables."""

    subject: str
    body: str


def apply(client: "SyncPrefectClient", zombie_after: timedelta = ZOMBIE_AFTER, notify: str | None = None) -> list[str]:
    """Update the server behind `client` and return the changes, one line each.

    Args:
        client: the client of the server.
        zombie_after: how long a run may send no heartbeat before it counts as crashed.
        notify: the notification block for messages, as TYPE/NAME; None does not change the notifications.

    Raises:
        CacError: a pool has another type, two automations have the same name, or the block does not exist.
    """
    changes = [_apply_pool(client, pool) for pool in POOLS]
    changes += [_apply_limit(client, name, slots) for name, slots in LIMITS.items()]
    wanted = [zombie_automation(zombie_after), *(notify_automations(_block_id(client, notify)) if notify else ())]
    changes += [_apply_automation(client, automation) for automation in wanted]
    return [change for change in changes if change]


def zombie_automation(after: timedelta) -> "AutomationCore":
    """Return the automation that marks a run as crashed after `after` without a heartbeat or a new state.

    A killed worker cannot report that its run ended. Without this automation the run never releases its concurrency
    slot.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    heartbeat = "prefect.flow-run.heartbeat"
    trigger = EventTrigger(
        after={heartbeat},
        expect={heartbeat, *(f"prefect.flow-run.{state}" for state in (*_FINAL_STATES, *_WAITING_STATES))},
        match=ResourceSpecification.model_validate({"prefect.resource.id": "prefect.flow-run.*"}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=after,
    )
    message = f"No heartbeat for {after.total_seconds():.0f} s: the process of this run no longer exists."
    return AutomationCore(
        name=ZOMBIES,
        description="Marks a run as crashed when its process ended without reporting a state.",
        trigger=trigger,
        actions=[ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)],
    )


def notify_automations(block: "UUID") -> list["AutomationCore"]:
    """Return the automations that notify through `block`: of failed runs, retraining results, and drift.

    Events with a `message`: `cac.retraining.…` (flows/retraining.py), `cac.drift.found` (flows/monitoring.py).
    """
    failed = {f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut")}
    on_failure = Message(
        "{{ flow.name }} {{ flow_run.name }}", "{{ flow_run.state.name }}: {{ flow_run.state.message }}"
    )
    on_event = Message("{{ event.event }}", "{{ event.payload.message }}")
    return [
        _notification(FAILURES, failed, on_failure, block),
        _notification(RETRAININGS, {"cac.retraining.*", "cac.drift.found"}, on_event, block),
    ]


def _notification(name: str, events: set[str], message: Message, block: "UUID") -> "AutomationCore":
    """Return an automation that sends `message` on each of the events."""
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    return AutomationCore(
        name=name,
        description=f"Sends a message on {', '.join(sorted(events))}.",
        trigger=EventTrigger(expect=events, posture=Posture.Reactive, threshold=1, within=timedelta(0)),
        actions=[SendNotification(block_document_id=block, subject=message.subject, body=message.body)],
    )


def _block_id(client: "SyncPrefectClient", slug: str) -> "UUID":
    """Return the id of the block document TYPE/NAME."""
    from prefect.exceptions import ObjectNotFound

    kind, _, name = slug.partition("/")
    try:
        return client.read_block_document_by_name(name, kind, include_secrets=False).id
    except ObjectNotFound as error:
        raise CacError(
            f"{NOTIFY_BLOCK}={slug}: the server has no such block. Create it under Blocks in the Prefect UI and "
            "set the variable to TYPE/NAME, for example slack-webhook/ops."
        ) from error


def _apply_pool(client: "SyncPrefectClient", pool: Pool) -> str | None:
    """Create or update the work pool; return the change, None if there was nothing to change."""
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    wanted: dict[str, Any] = {
        "description": pool.description,
        "concurrency_limit": pool.slots,
        "base_job_template": _template(pool),
    }
    try:
        existing = client.read_work_pool(pool.name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=pool.name, type=pool.kind, **wanted))
        return f"created the work pool {pool.name}"
    if existing.type != pool.kind:
        raise CacError(
            f"the work pool {pool.name} has the type {existing.type}, not {pool.kind}, and Prefect cannot change it. "
            f"Delete the pool (prefect work-pool delete {pool.name}) and run again."
        )
    if all(getattr(existing, name) == value for name, value in wanted.items()):
        return None
    client.update_work_pool(pool.name, WorkPoolUpdate(**wanted))
    return f"updated the work pool {pool.name}"


def _template(pool: Pool) -> dict[str, Any]:
    """Return the base job template of the pool."""
    if pool.template is not None:
        result: dict[str, Any] = json.loads(pool.template.read_text(encoding="utf-8"))
        return result
    from prefect.workers.process import ProcessWorker

    return ProcessWorker.get_default_base_job_template()


def _apply_limit(client: "SyncPrefectClient", name: str, slots: int) -> str | None:
    """Create or update the concurrency limit; return the change, None if there was nothing to change."""
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
    from prefect.exceptions import ObjectNotFound

    try:
        existing = client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots))
        return f"created the concurrency limit {name}"
    if existing.limit == slots:
        return None
    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=slots))
    return f"updated the concurrency limit {name}"


def _apply_automation(client: "SyncPrefectClient", wanted: "AutomationCore") -> str | None:
    """Create or update the automation; return the change, None if there was nothing to change."""
    existing = client.read_automations_by_name(wanted.name)
    if not existing:
        client.create_automation(wanted)
        return f"created the automation {wanted.name}"
    if len(existing) > 1:
        raise CacError(
            f"the server has {len(existing)} automations named {wanted.name}. Delete them "
            "(prefect automation ls; prefect automation delete --id ID) and run again."
        )
    fields = ("description", "trigger", "actions")
    if all(getattr(existing[0], name) == getattr(wanted, name) for name in fields):
        return None
    client.update_automation(existing[0].id, wanted)  # `enabled` is unset: Prefect keeps the operator's value
    return f"updated the automation {wanted.name}"


def main() -> int:
    """Update the server at PREFECT_API_URL and return the exit code."""
    about = "Apply our work pools, concurrency limits and automations to the server at PREFECT_API_URL."
    argparse.ArgumentParser(prog="python -m infra.automations", description=about).parse_args()
    if not os.environ.get("PREFECT_API_URL"):
        print_error('PREFECT_API_URL is not set. For the local stack: eval "$(python -m infra.stack env)"')
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
