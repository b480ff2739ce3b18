"""A flow for the stack's worker: it uses MLflow as a training stage does, or hangs with a child of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path

from prefect import flow


@flow
def train(text: str) -> str:
    import mlflow

    mlflow.set_experiment("from-the-worker")
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 0.5)
        mlflow.log_text(text, "note.txt")
    return run.info.run_id


@flow
def hang(note: str) -> None:
    """Start a child in a session of its own, as stages are, and wait for ever; the file `note` says that it began."""
    subprocess.Popen((sys.executable, "-c", "import time; time.sleep(3600)"), start_new_session=True)
    Path(note).write_text(str(os.getpid()))
    time.sleep(3600)
