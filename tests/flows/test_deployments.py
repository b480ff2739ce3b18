"""prefect.yaml: that what it deploys can be imported, takes its parameters, and is fired by the events agreed on."""

import re
from pathlib import Path

import pytest
import yaml
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.exceptions import ParameterTypeError
from prefect.flows import load_flow_from_entrypoint

from flows import monitoring

ROOT = Path(__file__).parents[2]
DEPLOYMENT, WATCH = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.fixture(scope="module")
def flow():
    return load_flow_from_entrypoint(str(ROOT / DEPLOYMENT["entrypoint"]), use_placeholder_flow=False)


def test_the_flow_takes_what_the_deployment_gives(flow):
    assert flow.name == "retraining"
    given = flow.validate_parameters(DEPLOYMENT["parameters"])
    assert (given["revision"], given["settings"].veto_seconds) == ("main", 3600)


@pytest.mark.parametrize(
    "wrong",
    [
        {"settings": {"veto_seconds": "60"}},
        {"settings": {"veto_seconds": -1}},
        {"settings": {"push": 1}},
        {"settings": {"git_remote": "--upload-pack=x"}},
        {"settings": {"veto": 60}},
        {"revision": 7},
    ],
)
def test_other_parameters_are_refused(flow, wrong):
    with pytest.raises(ParameterTypeError):
        flow.validate_parameters({"revision": "main", "reason": "test", **wrong})


def test_the_schedule_is_a_cron_line():
    for deployment in (DEPLOYMENT, WATCH):
        [schedule] = deployment["schedules"]
        CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])


@pytest.mark.parametrize("deployment", [DEPLOYMENT, WATCH])
def test_it_runs_alone_and_lets_wait_what_comes_meanwhile(deployment):
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": ConcurrencyLimitStrategy.ENQUEUE}


def test_new_data_and_drift_fire_it(flow):
    triggers = {raw["name"]: DeploymentEventTrigger.model_validate(raw) for raw in DEPLOYMENT["triggers"]}
    data, drift = triggers["retrain-on-new-data"], triggers["retrain-on-drift"]
    assert data.expect == {"cac.dataset.version-added"}
    assert data.match.root == {"prefect.resource.id": "cac.dataset"}
    assert drift.expect == {monitoring.EVENT}
    assert drift.match.root == {"prefect.resource.id": monitoring.RESOURCE}
    for trigger in (data, drift):
        assert set(trigger.parameters) <= set(flow.parameters.properties)
        for value in trigger.parameters.values():
            assert re.fullmatch(r"[\w ]+|\{\{ event\.payload\.\w+ \}\}", value)


def test_monitoring_takes_what_its_deployment_gives():
    watch = load_flow_from_entrypoint(str(ROOT / WATCH["entrypoint"]), use_placeholder_flow=False)
    assert watch.name == "monitoring"
    assert watch.validate_parameters(WATCH["parameters"]) == {"source": None, "send_events": True}
