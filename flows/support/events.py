"""Sending events that triggers in `prefect.yaml` listen to, with confirmation by the server.

`prefect.events.emit_event` only queues an event; here the server's answer is awaited. The id follows from the event's
subject, so a receiver can recognise an event that is sent twice.
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
    """An event to send.

    Attributes:
        event: its name, such as "cac.drift.found".
        resource: the id of its resource; triggers match it.
        label: the resource's name for people.
        key: the subject, from which the event's id is derived.
        payload: values for the parameters of a trigger.
    """

    event: str
    resource: str
    label: str
    key: str
    payload: Mapping[str, object]


def send_event(trigger: TriggerEvent) -> None:
    """Send an event and return when the server has accepted it."""
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
