"""Promotions and rollbacks killed by SIGKILL before each write; `benchmarks/` kills many at random moments."""

import os
import signal
from pathlib import Path

import pytest
from helpers.deadly import consuming, promoting, rolling_back, run
from helpers.tiny_versions import Tiny, make_version

from cac.registry.promote import promote
from cac.registry.versions import BEST, CHAMPION, PREVIOUS, get_aliases
from cac.tracking.mlflow_runs import connect

pytestmark = pytest.mark.slow

MOST_WRITES = 20


@pytest.fixture
def quick(project, params, monkeypatch):
    # The processes are to find the store by the folder, as a user's do.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Path.cwd() == project
    return params.model_copy(update={"evaluation": params.evaluation.model_copy(update={"bootstrap_samples": 20})})


def new_version(params, missed=()):
    number = make_version(Tiny(missed=missed), params.registry.model_name, params.registry.experiment)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    return number


def held(params):
    return get_aliases(connect(), params.registry.model_name)


def killed_at_each_write(command, params, allowed):
    """Yield the number of the write each killed run was to make next; the last run is not killed."""
    for write in range(MOST_WRITES):
        code = run(command[0], params, *command[1:], write).code
        assert run(consuming, params, allowed).code == 0, f"inconsistent when killed before write {write}"
        if code == 0:
            return
        assert code == -signal.SIGKILL
        yield write
    pytest.fail(f"not done after {MOST_WRITES} writes")


def test_a_promotion_killed_before_any_of_its_writes_leaves_a_champion_and_completes(quick):
    first, better, equal = new_version(quick, missed=range(6)), new_version(quick), new_version(quick)
    # Files, tags, the lines, and the aliases; once a killed run has moved the pin, the later ones need not.
    writes = {first: 12, better: 11, equal: 11}
    for version, before in ((first, None), (better, first), (equal, better)):
        killed = list(killed_at_each_write((promoting, version), quick, (before, version)))
        assert len(killed) == writes[version]
        assert held(quick)[CHAMPION] == version
    assert held(quick) == {CHAMPION: equal, PREVIOUS: better, BEST: better}


def test_a_rollback_killed_before_any_of_its_writes_leaves_a_champion_and_completes(quick):
    first, second, third = new_version(quick), new_version(quick), new_version(quick)
    for version in (first, second, third):
        assert promote(quick, version).passed
    killed = list(killed_at_each_write((rolling_back,), quick, (third, second)))
    assert len(killed) == 5, "two tags, the line, and two aliases"
    assert held(quick) == {CHAMPION: second, PREVIOUS: first, BEST: first}


def test_a_rollback_of_the_best_killed_before_any_of_its_writes_completes(quick):
    first, best = new_version(quick, missed=range(6)), new_version(quick)
    for version in (first, best):
        assert promote(quick, version).passed
    killed = list(killed_at_each_write((rolling_back,), quick, (best, first)))
    assert len(killed) == 5, "two tags, the line, and two aliases; the pin is moved by the first runs only"
    assert held(quick) == {CHAMPION: first, BEST: first}


def test_the_consumer_does_tell_an_unfit_champion(quick):
    version = new_version(quick)
    assert promote(quick, version).passed
    assert run(consuming, quick, (version,)).code == 0
    assert run(consuming, quick, ("7",)).code == 1
    connect().set_model_version_tag(quick.registry.model_name, version, "gate", "failed")
    assert run(consuming, quick, (version,)).code == 1
