"""Promotions that are killed, by SIGKILL, at random moments: is the registry ever left inconsistent?

    python -m benchmarks.killed_promotions --count 100

Each trial registers a version in a real SQLite store of MLflow, promotes it in a process of its own and kills that
after a random time; every fifth trial rolls the champion back instead. Then a consumer, also a process of its own,
resolves `models:/…@champion` and reads its files: the champion must be registered completely, must have passed the
gate, and must be either the one before or the new one. Last, the same command runs again and must complete. Left out:
the packaging of a real model, see `tests/registry/test_register.py`. Exit code 1 if anything was inconsistent.
"""

import argparse
import os
import random
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.deadly import consuming, promoting, rolling_back, run
from benchmarks.tiny_versions import Tiny, make_version
from cac.params import Params, load_params
from cac.registry.aliases import CHAMPION, GATE_TAG, LINE_TAG, PREVIOUS, ROLLED_BACK_TAG, aliases
from cac.registry.tracking import connect

DONE = "after the last write"
_FEWER = {"bootstrap_samples": 50}
_ROLLBACK_EVERY = 5


def main() -> int:
    """Run the trials and print where the kills struck."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.killed_promotions", description="Kill promotions.")
    parser.add_argument("--count", type=int, default=100, metavar="N", help="trials (default: 100)")
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
    """Return of each trial where the kill struck and what was wrong, "" if nothing."""
    longest = max(run(promoting, params, _new(params)).seconds for _ in range(4))
    results = []
    for number in range(count):
        rolls_back = number % _ROLLBACK_EVERY == _ROLLBACK_EVERY - 1
        results.append((_killed_rollback if rolls_back else _killed_promotion)(params, chance.uniform(0, longest)))
        where, wrong = results[-1]
        print(f"{number + 1:4}/{count}  {where}{'  WRONG: ' + wrong if wrong else ''}", flush=True)
    return results


def _new(params: Params) -> str:
    return make_version(Tiny(), params.registry.model_name, params.registry.experiment)


def _killed_promotion(params: Params, moment: float) -> tuple[str, str]:
    version, before = _new(params), _held(params).get(CHAMPION)
    code = run(promoting, params, version, kill_after=moment).code
    where = f"promotion, {_reached(params, version)}" if code else "promotion, not at all: it was done"
    return where, _aftermath(params, (promoting, params, version), before, version)


def _killed_rollback(params: Params, moment: float) -> tuple[str, str]:
    before, version = _held(params).get(CHAMPION), _new(params)
    assert run(promoting, params, version).code == 0
    code = run(rolling_back, params, kill_after=moment).code
    held = _held(params)
    reached = DONE if held[CHAMPION] == before else "between the aliases" if held.get(PREVIOUS) != before else "before"
    if reached == "before" and ROLLED_BACK_TAG in _tags(params, version):
        reached = "among the tags"
    where = f"rollback, {reached}" if code else "rollback, not at all: it was done"
    return where, _aftermath(params, (rolling_back, params), version, before)


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
    if LINE_TAG in tags or GATE_TAG in tags:
        return "between tags and aliases"
    return "among the tags" if any(tag.startswith("gate") for tag in tags) else "before any tag"


def _held(params: Params) -> dict[str, str]:
    return aliases(connect(), params.registry.model_name)


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
