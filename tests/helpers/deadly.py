"""Registry commands in processes of their own that can be killed, and a consumer that says what they left behind.

The processes are forked from a server that has imported MLflow's stores but has opened none: a process is ready in a
fraction of a second, and shares no connection with another. The death is SIGKILL: so many seconds after the command has
begun or has made its first write, or just before its n-th write.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from cac.params import Params
from cac.registry.overrides import rollback
from cac.registry.promote import promote
from cac.tracking.mlflow_runs import connect

WRITES = (
    "log_text",
    "set_model_version_tag",
    "delete_model_version_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)
_CONTEXT: Any = multiprocessing.get_context("forkserver")
# Installed modules only: the server of Python 3.11 does not know pytest's path, and skips without a word what it cannot
# import; each process would then import it anew, for six seconds.
_CONTEXT.set_forkserver_preload(
    [
        "mlflow.store.model_registry.sqlalchemy_store",
        "mlflow.store.tracking.sqlalchemy_store",
        "cac.registry.promote",
        "cac.registry.overrides",
    ]
)


class Ended(NamedTuple):
    """A process's exit code, and its seconds since the event that its death is counted from."""

    code: int
    seconds: float


def run(
    command: Callable[..., object],
    params: Params,
    *arguments: object,
    kill_after: float | None = None,
    from_first_write: bool = False,
) -> Ended:
    """Run `command(params, *arguments)` on the store of the current folder in a process, and return how that ended.

    With `kill_after`, the process is killed that many seconds after it has opened the store, or is about to make its
    first write, if it is not done by then.
    """
    opened, writing = _CONTEXT.Event(), _CONTEXT.Event()
    process: BaseProcess = _CONTEXT.Process(
        target=_work, args=(Path.cwd(), opened, writing, command, params, *arguments)
    )
    process.start()
    begun = writing if from_first_write else opened
    while not begun.wait(0.01) and process.is_alive():
        pass
    start = time.perf_counter()
    process.join(kill_after)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode is not None
    return Ended(process.exitcode, time.perf_counter() - start)


def _work(
    store: Path, opened: Event, writing: Event, command: Callable[..., object], params: Params, *arguments: object
) -> None:
    os.chdir(store)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    _before_each_write(writing.set)
    try:
        connect().search_registered_models()
    finally:
        opened.set()
    command(params, *arguments)


def promoting(params: Params, version: str, die_before: int | None = None) -> None:
    """Promote a version; with `die_before`, be killed just before that write, counted from 0."""
    _doom(die_before)
    promote(params, version)


def rolling_back(params: Params, die_before: int | None = None) -> None:
    """Roll the champion back; `die_before` as in `promoting`."""
    _doom(die_before)
    rollback(params, "a trial")


def _doom(write: int | None) -> None:
    """Let this process kill itself just before its n-th write to the registry or its files, from 0."""
    if write is None:
        return
    left = iter(range(write))

    def die() -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    _before_each_write(die)


def _before_each_write(act: Callable[[], object]) -> None:
    """Let something happen in this process before each write to the registry or its files."""

    def wrap(call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **named: object) -> object:
            act()
            return call(*arguments, **named)

        return wrapped

    for name in WRITES:
        setattr(MlflowClient, name, wrap(getattr(MlflowClient, name)))


def consuming(params: Params, allowed: tuple[str | None, ...]) -> None:
    """Take the champion as a consumer does.

    Raises:
        AssertionError: it is none of those allowed (None: there need not be one), or it is not fit to be champion.
    """
    client, name = connect(), params.registry.model_name
    try:
        version = client.get_model_version_by_alias(name, "champion")
    except MlflowException:
        assert None in allowed, "there is no champion any more"
        return
    assert str(version.version) in allowed, f"champion is {version.version}, which is none of {allowed}"
    assert version.tags["registration"] == "complete", f"champion {version.version} is not complete"
    assert version.tags["gate"] == "passed", f"champion {version.version} has not passed the gate"
    with TemporaryDirectory() as scratch:
        folder = Path(download_artifacts(f"models:/{name}@champion", dst_path=scratch))
        assert (folder / "model.txt").read_text(encoding="utf-8") == "a model\n"
