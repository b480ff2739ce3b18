"""Work pools, limits and automations against a real Prefect server: made once, changed when they differ."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest

from cac.errors import CacError
from flows.support.prefect_server import local_server
from infra.automations import GPU_TEMPLATE, LIMITS, POOLS, ZOMBIES, apply, zombie_automation

pytestmark = pytest.mark.slow

MADE = [
    "created the work pool cac",
    "created the work pool cac-gpu",
    "created the concurrency limit training",
    "created the concurrency limit promotion",
    "created the automation crash-zombie-runs",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server of its own, with an empty database; what Prefect keeps in a process is not asked."""
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(home))
        with local_server(home / "server.log"):
            yield os.environ["PREFECT_API_URL"]


@pytest.fixture
def client(server: str):
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(server) as client:
        yield client


def _command(server: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "infra.automations")
    return subprocess.run(command, env=os.environ | {"PREFECT_API_URL": server}, capture_output=True, text=True)


@pytest.mark.timeout(900)
def test_the_command_makes_everything_once(server: str) -> None:
    first, second = _command(server), _command(server)
    assert first.stdout.splitlines() == MADE, first.stderr
    assert second.stdout.splitlines() == ["nothing to change"]


def test_what_differs_is_changed_and_an_operators_choice_is_kept(client) -> None:
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate, WorkPoolUpdate

    apply(client)
    client.update_work_pool("cac", WorkPoolUpdate(concurrency_limit=9, is_paused=True))
    client.update_global_concurrency_limit("training", GlobalConcurrencyLimitUpdate(limit=7))
    [automation] = client.read_automations_by_name(ZOMBIES)
    client.pause_automation(automation.id)
    changed = apply(client, zombie_after=timedelta(minutes=20))
    assert changed == [
        "updated the work pool cac",
        "updated the concurrency limit training",
        "updated the automation crash-zombie-runs",
    ]
    assert client.read_work_pool("cac").is_paused
    [after] = client.read_automations_by_name(ZOMBIES)
    assert (after.id, after.enabled, after.trigger.within) == (automation.id, False, timedelta(minutes=20))
    assert client.read_global_concurrency_limit_by_name("training").limit == LIMITS["training"]
    apply(client)
    assert apply(client) == []


def test_a_pool_of_another_type_is_refused(client) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate

    apply(client)
    client.delete_work_pool("cac")
    client.create_work_pool(WorkPoolCreate(name="cac", type="docker"))
    with pytest.raises(CacError, match="type docker, not process"):
        apply(client)
    client.delete_work_pool("cac")


def test_two_automations_of_one_name_are_refused(client) -> None:
    apply(client)
    second = client.create_automation(zombie_automation(timedelta(minutes=10)))
    with pytest.raises(CacError, match="2 automations named"):
        apply(client)
    client.delete_automation(second)


def test_without_a_server_the_command_says_how_to_get_one() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run((sys.executable, "-m", "infra.automations"), env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "PREFECT_API_URL" in done.stderr


def test_messages_go_to_the_block_that_is_named(client, server: str) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.settings import PREFECT_API_URL, temporary_settings

    apply(client)
    with pytest.raises(CacError, match="no such block"):
        apply(client, notify="custom-webhook/ops")
    block = CustomWebhookNotificationBlock(name="ops", url="http://127.0.0.1:9/hook", json_data={"text": "{{body}}"})
    with temporary_settings({PREFECT_API_URL: server}):
        block.save("ops")
    made = ["created the automation notify-of-failures", "created the automation notify-of-retrainings"]
    assert apply(client, notify="custom-webhook/ops") == made
    assert apply(client, notify="custom-webhook/ops") == []


def test_a_late_heartbeat_or_two_do_not_crash_a_run() -> None:
    from prefect.settings.models.flows import FlowsSettings

    from infra.automations import ZOMBIE_AFTER

    assert timedelta(seconds=3 * (FlowsSettings().heartbeat_frequency or 0)) <= ZOMBIE_AFTER


def test_the_gpu_template_names_only_variables_it_has() -> None:
    import re

    template = json.loads(GPU_TEMPLATE.read_text())
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])
    assert {pool.name for pool in POOLS} == {"cac", "cac-gpu"}
