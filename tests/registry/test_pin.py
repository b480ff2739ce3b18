"""The pin of the best version: when it moves, who moves it, and that small steps down cannot add up."""

import json

import pytest
from helpers.tiny_versions import Tiny, make_version

from cac.errors import CacError
from cac.registry.overrides import rollback, veto
from cac.registry.pin import pin
from cac.registry.promote import promote
from cac.registry.versions import BEST, CHAMPION, INCOMPLETE
from cac.tracking.mlflow_runs import connect

pytestmark = pytest.mark.slow


@pytest.fixture
def version_of(project, params):
    """Make a version that misses the anomalies of so many pairs, of 44."""

    def make(missed=0, **given):
        tiny = Tiny(missed=range(missed), pairs=44, **given)
        return make_version(tiny, params.registry.model_name, params.registry.experiment)

    return make


def failed(decision):
    return [check.name for check in decision.checks if not check.passed]


def test_only_a_version_that_is_better_with_confidence_becomes_the_best(version_of, best, params):
    """The highest of several equal measurements is luck, so a higher value alone does not move the pin."""
    first, luckier, better = version_of(8), version_of(6), version_of(0)
    assert promote(params, first).is_best
    assert best() == first
    decision = promote(params, luckier)
    assert (decision.passed, decision.best, decision.is_best) == (True, first, False)
    assert best() == first
    assert promote(params, better).is_best
    assert best() == better


def test_small_steps_down_do_not_add_up(version_of, aliases, best, params, tags):
    """Each step passes the comparison with the champion; the third is too far below the best."""
    first, second, third = version_of(0), version_of(3), version_of(6)
    assert promote(params, first).passed
    assert promote(params, second).passed
    decision = promote(params, third)
    assert failed(decision) == ["balanced_accuracy_difference_to_best"]
    assert (decision.champion, decision.best) == (second, first)
    assert (aliases()[CHAMPION], best()) == (second, first)
    assert tags(third)["gate_best"] == first
    assert f"difference to best {first}" in decision.table()
    assert f"difference to champion {second}" in decision.table()


def test_in_a_store_from_before_the_pin_the_champion_is_the_best_and_stays_it(version_of, best, params):
    first, second = version_of(), version_of(1)
    promote(params, first)
    connect().delete_registered_model_alias(params.registry.model_name, BEST)
    decision = promote(params, second)
    assert (decision.passed, decision.best) == (True, first)
    assert best() == first


def test_a_best_version_that_is_rolled_back_gives_way_to_the_one_before_it(version_of, best, params):
    first, better = version_of(8), version_of(0)
    for version in (first, version_of(8), better):
        assert promote(params, version).passed
    assert best() == better
    rollback(params, "it likes melted hands")
    assert best() == first, "not the champion that was restored"


def test_a_best_version_that_is_vetoed_gives_way_to_the_champion_if_none_was_best_before_it(version_of, best, params):
    first, second = version_of(), version_of()
    for version in (first, second):
        promote(params, version)
    veto(params, first, "it was trained on test clips")
    assert best() == second


def test_a_person_pins_a_version_and_says_why(version_of, best, params, tags):
    first, second = version_of(), version_of()
    for version in (first, second):
        promote(params, version)
    record = pin(params, second, " the test split is harder now ")
    assert best() == second
    assert (record.replaced, record.reason) == (first, "the test split is harder now")
    assert json.loads(tags(second)["pinned"])["reason"] == "the test split is harder now"
    rollback(params, "the pin was a mistake")
    assert best() == first, "the champion that was restored: a person's pin has none before it"


def test_a_pin_needs_a_reason_and_a_version_that_nobody_took_back(version_of, best, params):
    first, second = version_of(), version_of()
    promote(params, first)
    with pytest.raises(CacError, match="reason"):
        pin(params, first, " ")
    veto(params, second, "mislabelled clips")
    with pytest.raises(CacError, match="mislabelled clips"):
        pin(params, second, "x")
    with pytest.raises(CacError, match="not complete"):
        pin(params, version_of(registration=INCOMPLETE), "x")
    assert best() == first
