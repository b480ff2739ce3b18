import json

import pytest

from cac.errors import CacError
from cac.registry.promote import CHAMPION, PREVIOUS, promote
from cac.registry.register import COMPLETE, INCOMPLETE, REGISTRATION_TAG, metric_tag
from cac.registry.tracking import connect

GOOD = {"balanced_accuracy": 0.8, "specificity": 0.7, "parse_rate": 1.0}
NAMES = ["balanced_accuracy", "specificity", "parse_rate", "balanced_accuracy_drop"]


@pytest.fixture
def version_of(project, params):
    """Make a version with these test metrics and return its number."""
    client, name = connect(), params.registry.model_name
    client.create_registered_model(name)

    def make(registration=COMPLETE, data="d.dir", **metrics):
        tags = {metric_tag(key): repr(value) for key, value in {**GOOD, **metrics}.items()}
        tags |= {REGISTRATION_TAG: registration, "data_md5": data}
        return str(client.create_model_version(name, str(project), tags=tags).version)

    return make


@pytest.fixture
def aliases(project, params):
    return lambda: {k: str(v) for k, v in connect().get_registered_model(params.registry.model_name).aliases.items()}


def tags(params, version):
    return connect().get_model_version(params.registry.model_name, version).tags


def test_champion_moves_keeps_the_old_one_and_moving_again_changes_nothing(version_of, aliases, params):
    first, second = version_of(), version_of(balanced_accuracy=0.9)
    assert promote(params, first).champion is None
    assert aliases() == {CHAMPION: first}
    assert promote(params, second).champion == first
    assert aliases() == {CHAMPION: second, PREVIOUS: first}
    assert promote(params, second).passed
    assert aliases() == {CHAMPION: second, PREVIOUS: first}
    assert tags(params, second)["gate"] == "passed"


@pytest.mark.parametrize(
    ("metric", "value"),
    [("balanced_accuracy", 0.59), ("specificity", 0.49), ("parse_rate", 0.97), ("specificity", float("nan"))],
)
def test_one_missed_bound_stops_it_and_all_checks_are_listed(version_of, aliases, params, metric, value):
    first = version_of(balanced_accuracy=0.6)
    promote(params, first)
    bad = version_of(**{metric: value})
    decision = promote(params, bad)
    assert not decision.passed
    assert [check.name for check in decision.checks] == NAMES
    assert [check.name for check in decision.checks if not check.passed] == [metric]
    assert aliases() == {CHAMPION: first}
    assert tags(params, bad)["gate"] == "failed"
    assert tags(params, bad)["gate_reasons"].startswith(metric)
    assert len(json.loads(tags(params, bad)["gate_checks"])) == len(NAMES)
    assert decision.table().count("FAILED") == 1


@pytest.mark.parametrize(("accuracy", "passes"), [(0.78, True), (0.77, False), (0.95, True)])
def test_a_candidate_may_fall_behind_the_champion_only_so_far(version_of, aliases, params, accuracy, passes):
    champion, candidate = version_of(), version_of(balanced_accuracy=accuracy)
    promote(params, champion)
    assert promote(params, candidate).passed is passes
    assert aliases()[CHAMPION] == (candidate if passes else champion)


def test_numbers_from_other_data_are_not_compared(version_of, aliases, params):
    champion, candidate = version_of(data="old.dir"), version_of(data="new.dir", balanced_accuracy=0.9)
    promote(params, champion)
    refused = promote(params, candidate)
    assert (refused.passed, refused.checks[-1].value) == (False, None)
    assert "other data" in refused.checks[-1].note
    assert not promote(params, candidate, champion_balanced_accuracy=0.93).passed
    assert promote(params, candidate, champion_balanced_accuracy=0.6).passed
    assert aliases() == {CHAMPION: candidate, PREVIOUS: champion}
    assert tags(params, candidate)["gate_reasons"] == "none"


def test_a_version_cut_off_while_registering_is_never_promoted(version_of, aliases, params):
    with pytest.raises(CacError, match="not complete"):
        promote(params, version_of(registration=INCOMPLETE))
    assert aliases() == {}


def test_a_version_that_is_not_there_is_named(version_of, params):
    with pytest.raises(CacError, match="no version 7"):
        promote(params, "7")
