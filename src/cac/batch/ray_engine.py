"""Scoring the parts with a pool of Ray actors, each with its own model, on this machine or on a cluster.

Ray Data distributes the parts, restarts an actor that died, and gives its part to another. The rows come back to this
process, which writes them as `run.py` does. So a run may be interrupted, resumed, and change its engine, and the table
has the same bytes. The nodes of a cluster need this package, the videos under the same path, and the keys of S3 if the
videos are there.
"""

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.batch.listing import open_source
from cac.batch.plan import Plan
from cac.batch.rows import part_rows
from cac.errors import CacError
from cac.io.s3 import SCHEME

if TYPE_CHECKING:
    import numpy as np

_MOST_BLOCKS = 5000  # what Ray Data plans with; each is handed out and comes back as one
_STORE_BYTES = 200_000_000  # of Ray's object store on this machine: rows are small


class PartScorer:
    """A Ray actor: a model, and the plan whose parts it scores."""

    def __init__(self, plan: Plan, tracking_uri: str, threads: int) -> None:
        os.environ["MLFLOW_TRACKING_URI"] = (
            tracking_uri  # the default depends on the current folder, which differs here
        )
        import torch

        from cac.registry.pinned import pin

        torch.set_num_threads(threads)  # sums round differently with more or fewer threads
        self._plan = plan
        self._parts = plan.parts
        self._source = open_source(plan.source)
        self._pinned = pin(plan.model, plan.settings.device)

    def __call__(self, batch: dict[str, "np.ndarray"]) -> dict[str, list[Any]]:
        """Return the rows of the parts whose numbers are in `batch["part"]` as JSON, or the error."""
        numbers = [int(number) for number in batch["part"]]
        made = [self._make(number) for number in numbers]
        return {"part": numbers, "rows": [rows for rows, _ in made], "error": [error for _, error in made]}

    def _make(self, number: int) -> tuple[str, str]:
        try:
            rows = next(part_rows(self._pinned, self._source, self._plan.settings, [self._parts[number]]))
        except CacError as error:
            return "", str(error)
        return json.dumps(rows), ""


def ray_engine(actors: int) -> Any:
    """Return an engine that scores parts with this many actors.

    On GPUs each actor has one of its own. RAY_ADDRESS names a cluster; without it, a local one is started and stopped.

    Raises:
        CacError: Ray is not installed, or `actors` is below 1.
    """
    if importlib.util.find_spec("ray") is None:
        raise CacError("--engine ray needs Ray, which is not installed. Install it with: uv pip install -e '.[ray]'")
    if actors < 1:
        raise CacError("--actors must be 1 or more.")

    def engine(plan: Plan, numbers: Sequence[int]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        with _ray(actors):
            yield from _made(plan, numbers, actors)

    return engine


@contextmanager
def _ray(actors: int) -> Iterator[None]:
    """Run Ray, with little output.

    A local Ray gets one core per actor and one for its own tasks, whatever the machine has: with fewer, the pool would
    wait forever for its last actor.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    own: dict[str, Any] = {"object_store_memory": _STORE_BYTES, "include_dashboard": False, "num_cpus": actors + 1}
    ray.init(logging_level="ERROR", **({} if os.environ.get("RAY_ADDRESS") else own))
    try:
        yield
    finally:
        ray.shutdown()


def _made(plan: Plan, numbers: Sequence[int], actors: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield finished parts.

    Raises:
        CacError: the source does not answer.
    """
    import ray.data
    import torch

    from cac.tracking.mlflow_runs import tracking_uri

    ray.data.DataContext.get_current().enable_progress_bars = False
    items = [{"part": number} for number in numbers]
    parts = ray.data.from_items(items, override_num_blocks=min(len(items), _MOST_BLOCKS))
    done = parts.map_batches(
        PartScorer,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(items))),
        num_gpus=1 if plan.settings.device.startswith("cuda") else 0,
        fn_constructor_args=(_with_absolute_source(plan), tracking_uri(), torch.get_num_threads()),
    )
    for row in done.iter_rows():
        if row["error"]:
            raise CacError(row["error"])
        yield int(row["part"]), json.loads(row["rows"])


def _with_absolute_source(plan: Plan) -> Plan:
    if plan.source.startswith(SCHEME):
        return plan
    return Plan(str(Path(plan.source).absolute()), plan.model, plan.settings, plan.videos)
