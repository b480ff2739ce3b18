"""Links between logs and runs: a flow run logs its commit and data, and tags every MLflow run below it.

MLflow gives each run the tags in MLFLOW_RUN_CONTEXT. So a stage, which does not import Prefect, can be found by its
flow run and vice versa; the stage logs its MLflow run (`cac/tracking/mlflow_runs.py`).
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import get_run_logger, runtime

from cac.tracking.run_state import data_md5, git_state

_CONTEXT = "MLFLOW_RUN_CONTEXT"


@contextmanager
def run_context(root: Path) -> Iterator[None]:
    """Log this flow run's name, commit and data, and tag all MLflow runs inside the context with the flow run."""
    run = {"prefect.flow_run_id": str(runtime.flow_run.id), "prefect.flow_run_name": str(runtime.flow_run.name)}
    commit, dirty = git_state(root)
    facts = {**run, "git_commit": commit, "git_dirty": dirty, "data_md5": data_md5(root)}
    get_run_logger().info(" ".join(f"{name}={value}" for name, value in facts.items()))
    before = os.environ.get(_CONTEXT)
    os.environ[_CONTEXT] = json.dumps({**json.loads(before or "{}"), **run})
    try:
        yield
    finally:
        os.environ.pop(_CONTEXT) if before is None else os.environ.update({_CONTEXT: before})
