import json

import pytest
from helpers.tiny_versions import Tiny, make_version
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from cac.errors import CacError
from cac.registry.overrides import rollback
from cac.registry.promote import promote
from cac.registry.versions import CHAMPION, HISTORY_TAG, PREVIOUS
from cac.tracking.mlflow_runs import connect

pytestmark = pytest.mark.slow


@pytest.fixture
def promoted(project, params):
    """Register and promote so many versions, and return their numbers."""

    def make(count):
        numbers = [make_version(Tiny(), params.registry.model_name, params.registry.experiment) for _ in range(count)]
        assert all(promote(params, number).passed for number in numbers)
        return numbers

    return make


def test_each_rollback_goes_one_champion_further_back_until_there_is_none(promoted, aliases, params, tags):
    first, second, third = promoted(3)
    record = rollback(params, "it liked melted hands")
    assert (record.version, record.restored, record.reason) == (third, second, "it liked melted hands")
    assert aliases() == {CHAMPION: second, PREVIOUS: first}
    assert rollback(params, "that one too").restored == first
    assert aliases() == {CHAMPION: first}
    with pytest.raises(CacError, match=f"version {first} has no champion before it"):
        rollback(params, "and again")
    assert aliases() == {CHAMPION: first}
    assert "rolled_back" not in tags(first)


def test_both_versions_say_who_replaced_whom_when_and_why(promoted, params, tags):
    first, second = promoted(2)
    record = rollback(params, "  it liked melted hands ")
    for version, tag in ((second, "rolled_back"), (first, "restored")):
        note = json.loads(tags(version)[tag])
        assert (note["version"], note["restored"]) == (second, first)
        assert note["reason"] == "it liked melted hands"
        assert note["at"] == record.at
        assert note["at"].endswith("+00:00")


def test_a_version_rolled_back_comes_back_only_when_it_is_asked_for(promoted, aliases, params, tags):
    """`make run` promotes the last version again and again; a person's rollback must outlive that."""
    first, second = promoted(2)
    rollback(params, "it liked melted hands")
    refused = promote(params, second)
    assert [check.name for check in refused.checks if not check.passed] == ["rolled_back"]
    assert "melted hands" in refused.table()
    assert aliases() == {CHAMPION: first}
    assert promote(params, second, despite_rollback=True).passed
    assert aliases() == {CHAMPION: second, PREVIOUS: first}
    assert "rolled_back" not in tags(second)
    assert promote(params, second).passed


def test_a_rollback_skips_what_was_rolled_back_or_is_gone(promoted, aliases, params):
    first, second, third, _ = promoted(4)
    connect().delete_model_version(params.registry.model_name, third)
    connect().set_model_version_tag(params.registry.model_name, second, "gate", "failed")
    assert rollback(params, "bad").restored == first
    assert aliases() == {CHAMPION: first}


def test_a_former_champion_that_cannot_be_asked_about_is_not_passed_over(promoted, aliases, params, monkeypatch):
    """Else a server that refuses for a moment would bring an older champion back than the one before."""
    _, second, third = promoted(3)
    ask = MlflowClient.get_model_version

    def refusing(client, name, version):
        if version == second:
            raise MlflowException("not now", error_code=TEMPORARILY_UNAVAILABLE)
        return ask(client, name, version)

    monkeypatch.setattr(MlflowClient, "get_model_version", refusing)
    with pytest.raises(MlflowException, match="not now"):
        rollback(params, "it liked melted hands")
    assert aliases() == {CHAMPION: third, PREVIOUS: second}


def test_champions_that_take_turns_do_not_bring_back_the_one_rolled_back(promoted, aliases, params, tags):
    first, second = promoted(2)
    assert promote(params, first).passed
    assert json.loads(tags(first)[HISTORY_TAG]) == [first, second]
    assert rollback(params, "bad").restored == second
    assert aliases() == {CHAMPION: second}
    with pytest.raises(CacError, match="no champion before it"):
        rollback(params, "bad")


def test_a_champion_from_before_there_was_a_line_goes_back_to_previous(promoted, aliases, params):
    first, second = promoted(2)
    connect().delete_model_version_tag(params.registry.model_name, second, HISTORY_TAG)
    assert rollback(params, "bad").restored == first


@pytest.mark.parametrize("reason", ["", "  ", "x" * 2001])
def test_a_rollback_needs_a_reason(promoted, aliases, params, reason):
    first, second = promoted(2)
    with pytest.raises(CacError, match="needs a reason"):
        rollback(params, reason)
    assert aliases() == {CHAMPION: second, PREVIOUS: first}


def test_without_a_champion_there_is_nothing_to_roll_back(project, params):
    with pytest.raises(CacError, match="no champion"):
        rollback(params, "bad")
