import pytest
from helpers.tiny_versions import Tiny, make_version

from cac.errors import CacError
from cac.registry.overrides import veto
from cac.registry.promote import promote
from cac.registry.versions import CHAMPION, INCOMPLETE


@pytest.fixture
def new_version(project, params):
    return lambda **wanted: make_version(Tiny(**wanted), params.registry.model_name, params.registry.experiment)


def test_a_vetoed_version_is_refused_until_it_is_asked_for(new_version, aliases, params, tags):
    first, second = new_version(), new_version(metrics={"balanced_accuracy": 0.9})
    promote(params, first)
    veto(params, second, "it was trained on the wrong clips")
    refused = promote(params, second)
    assert [check.name for check in refused.checks if not check.passed] == ["vetoed"]
    assert "wrong clips" in refused.checks[-1].note
    assert not promote(params, second, despite_rollback=True).passed
    assert aliases() == {CHAMPION: first}
    assert promote(params, second, despite_veto=True).passed
    assert aliases()[CHAMPION] == second
    assert "vetoed" not in tags(second)


def test_the_champion_is_rolled_back_not_vetoed(new_version, params, tags):
    first = new_version()
    promote(params, first)
    with pytest.raises(CacError, match="cac rollback"):
        veto(params, first, "late")
    assert "vetoed" not in tags(first)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 2001])
def test_a_veto_needs_a_reason(new_version, params, reason):
    with pytest.raises(CacError, match="reason"):
        veto(params, new_version(), reason)


def test_only_a_complete_version_can_be_vetoed(new_version, params):
    with pytest.raises(CacError, match="no version 7"):
        veto(params, "7", "no")
    with pytest.raises(CacError, match="not complete"):
        veto(params, new_version(registration=INCOMPLETE), "no")
