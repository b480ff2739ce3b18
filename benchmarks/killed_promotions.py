"""Kill promotions with SIGKILL at random moments and check that the registry stays consistent.

    python -m benchmarks.killed_promotions --count 100

Each trial registers a version in a real SQLite store of MLflow, promotes it in a separate process and kills that
process after a random time; every fifth trial rolls the champion back instead. In half of the trials the time starts
with the command, in the other half with its first write, where a kill could do harm. A command that finishes before it
is killed does not count. Then a consumer in another process resolves `models:/…@champion` and reads its files: the
champion must be registered completely, must have passed the gate, and must be the previous or the new one. Finally the
same command runs again and must complete. Out of scope: packaging a real model, see `tests/registry/test_register.py`.
Exit code 1 if anything was inconsistent.
"""

import argparse
import os
import random
import sys
from collections import Counter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from cac.params import Params, load_params
from cac.registry.versions import CHAMPION, GATE_TAG, HISTORY_TAG, PREVIOUS, ROLLED_BACK_TAG, get_aliases
from cac.tracking.mlflow_runs import connect
from tests.helpers.deadly import consuming, promoting, rolling_back, run
from tests.helpers.tiny_versions import Tiny, make_version

NOT_KILLED = ""
DONE = "after the last write"
_FEWER = {"bootstrap_samples": 50}
_ROLLBACK_EVERY = 5
_MOST_TRIES = 10


def main() -> int:
    """Run the trials and print where the kills struck."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.killed_promotions", description="Kill promotions.")
    parser.add_argument("--count", type=int, default=100, metavar="N", help="kills (default: 100)")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="of the moments of the kills (default: 7)")
    args = parser.parse_args()
    params = load_params(Path("params.yaml"))
    params = params.model_copy(update={"evaluation": params.evaluation.model_copy(update=_FEWER)})
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with TemporaryDirectory(prefix="cac-killed-") as scratch:
        os.chdir(scratch)
        results = _trials(params, args.count, random.Random(args.seed))
        os.chdir("/")
    return _report(results)


def _trials(params: Params, count: int, chance: random.Random) -> list[tuple[str, str]]:
    """Return of each kill where it struck and what was wrong, "" if nothing."""
    usual = {late: _usual_seconds(params, late) for late in (False, True)}
    results: list[tuple[str, str]] = []
    for _ in range(_MOST_TRIES * count):
        if len(results) == count:
            return results
        number = len(results)
        trial = _killed_rollback if number % _ROLLBACK_EVERY == _ROLLBACK_EVERY - 1 else _killed_promotion
        late = number % 2 == 1
        where, wrong = trial(params, {"kill_after": chance.uniform(0, usual[late]), "from_first_write": late})
        if where != NOT_KILLED or wrong:
            results.append((where or "not killed", wrong))
            print(f"{len(results):4}/{count}  {where}{'  WRONG: ' + wrong if wrong else ''}", flush=True)
    raise SystemExit(f"only {len(results)} of {_MOST_TRIES * count} commands could be killed before they were done")


def _usual_seconds(params: Params, from_first_write: bool) -> float:
    """Return how long a promotion takes, from its start or its first write to its end."""
    return median(run(promoting, params, _new(params), from_first_write=from_first_write).seconds for _ in range(5))


def _new(params: Params) -> str:
    return make_version(Tiny(), params.registry.model_name, params.registry.experiment)


def _killed_promotion(params: Params, death: dict[str, Any]) -> tuple[str, str]:
    version, before = _new(params), _held(params).get(CHAMPION)
    code = run(promoting, params, version, **death).code
    where = f"promotion, {_reached(params, version)}" if code else NOT_KILLED
    return where, _aftermath(params, (promoting, params, version), before, version)


def _killed_rollback(params: Params, death: dict[str, Any]) -> tuple[str, str]:
    before, version = _held(params).get(CHAMPION), _new(params)
    assert run(promoting, params, version).code == 0
    code = run(rolling_back, params, **death).code
    where = f"rollback, {_rolled_back(params, version, before)}" if code else NOT_KILLED
    return where, _aftermath(params, (rolling_back, params), version, before)


def _rolled_back(params: Params, version: str, restored: str | None) -> str:
    """Return how far the rollback of a version came."""
    held = _held(params)
    if held[CHAMPION] == restored:
        return DONE
    if held.get(PREVIOUS) != restored:
        return "between the aliases"
    return "among the tags" if ROLLED_BACK_TAG in _tags(params, version) else "before any tag"


def _aftermath(params: Params, command: tuple[Any, ...], old: str | None, new: str | None) -> str:
    """Return what is wrong after a kill and after the same command has run again; "" if nothing."""
    if run(consuming, params, (old, new)).code:
        return "inconsistent after the kill"
    if _held(params).get(CHAMPION) != new and run(*command).code:
        return "the same command failed"
    return "the same command did not complete it" if run(consuming, params, (new,)).code else ""


def _reached(params: Params, version: str) -> str:
    """Return how far the promotion of a version came."""
    held, tags = _held(params), _tags(params, version)
    if held.get(CHAMPION) == version:
        return DONE
    if held.get(PREVIOUS) == held.get(CHAMPION):
        return "between the aliases"
    if HISTORY_TAG in tags or GATE_TAG in tags:
        return "between tags and aliases"
    return "among the tags" if any(tag.startswith("gate") for tag in tags) else "before any tag"


def _held(params: Params) -> dict[str, str]:
    return get_aliases(connect(), params.registry.model_name)


def _tags(params: Params, version: str) -> dict[str, str]:
    return connect().get_model_version(params.registry.model_name, version).tags


def _report(results: list[tuple[str, str]]) -> int:
    struck, wrong = Counter(where for where, _ in results), Counter(where for where, what in results if what)
    print(f"\n{'killed':40} {'trials':>6} {'wrong':>6}")
    for where, count in sorted(struck.items()):
        print(f"{where:40} {count:6} {wrong[where]:6}")
    print(f"{'all':40} {len(results):6} {sum(wrong.values()):6}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
