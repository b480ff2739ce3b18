"""Sending an event that a trigger in `prefect.yaml` listens to, and knowing that the server has it.

`prefect.events.emit_event` hands an event to a thread and forgets it; here the server's answer is waited for. The id
follows from what the event is about, so one that is sent twice can be known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from prefect import get_run_logger, runtime
from prefect.client.orchestration import get_client
from prefect.events import Event


@dataclass(frozen=True)
class TriggerEvent:
    """An event to be.

    Attributes:
        event: its name, such as "cac.drift.found".
        resource: what it is of; triggers match it.
        label: what people call the resource.
        key: what it is about, which makes its id.
        payload: what a trigger's parameters are made of.
    """

    event: str
    resource: str
    label: str
    key: str
    payload: Mapping[str, object]


def send_event(trigger: TriggerEvent) -> None:
    """Send an event, and return only when the server has taken it."""
    run = {"prefect.resource.id": f"prefect.flow-run.{runtime.flow_run.id}", "prefect.resource.role": "flow-run"}
    event = Event.model_validate({
        "id": uuid5(NAMESPACE_URL, f"{trigger.resource}:{trigger.key}"),
        "event": trigger.event,
        "occurred": datetime.now(UTC),
        "resource": {"prefect.resource.id": trigger.resource, "prefect.resource.name": trigger.label},
        "related": [run],
        "payload": dict(trigger.payload),
    })  # fmt: skip
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()
    get_run_logger().info(f"sent {trigger.event}: {dict(trigger.payload)}")
