"""Retrainings of a small project through a real stack, and what may have gone wrong with them."""

import hashlib
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import psutil
from helpers.retrain_project import ROOT, TEST_CLIPS, Checkout
from helpers.running_stack import RunningStack, command_line, wait_for

from infra.automations import LIMITS, zombie_automation
from infra.stack.web import request_json

HEARTBEAT, PATIENCE = 30, 40  # seconds; as deployed 180 and 540
TIMES = ROOT / ".scratch" / "fault-times.txt"
_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_POOL = "cac"


class FaultyStack:
    """A running stack, the checkout in its folder, and a deployment of the retraining as in `prefect.yaml`."""

    def __init__(self, running: RunningStack, checkout: Checkout) -> None:
        self.running = running
        self.checkout = checkout
        self.note = checkout.root / ".retraining" / ".scratch" / "hanging"
        self._deployment = self._deploy()
        self.be_impatient()

    def be_impatient(self) -> None:
        """Call a run crashed that has not been heard of for PATIENCE."""
        soon = zombie_automation(timedelta(seconds=PATIENCE)).model_dump(mode="json") | {"name": "soon"}
        self._soon = self.running.prefect("/automations/", soon)["id"]

    def be_as_patient_as_deployed(self) -> None:
        """Let nine minutes pass, not PATIENCE, from now on."""
        self.running.prefect(f"/automations/{self._soon}", {}, "DELETE")

    def _deploy(self) -> str:
        directory = {"directory": str(self.checkout.root)}
        names = ("CAC_TEST_RAN", "CAC_TEST_ADAPTER")
        env = {name: self.checkout.env[name] for name in names}
        body = {
            "name": "faults",
            "flow_id": self.running.prefect("/flows/", {"name": "retraining"})["id"],
            "entrypoint": "flows.retraining.retraining",
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": directory}],
            "work_pool_name": _POOL,
            "job_variables": {"env": env},
            "concurrency_limit": 1,
            "concurrency_options": {"collision_strategy": "ENQUEUE"},
        }
        return self.running.prefect("/deployments/", body)["id"]

    def begin(self, env: dict[str, str] | None = None, **settings: Any) -> str:
        """Ask for a retraining of main and return its run's id."""
        deployment = self.running.prefect(f"/deployments/{self._deployment}")
        env = deployment["job_variables"]["env"] | (env or {})
        parameters = {"revision": "main", "settings": settings}
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "job_variables": {"env": env}}
        return self.running.prefect(f"/deployments/{self._deployment}/create_flow_run", body)["id"]

    def begin_hanging(self, stage: str, **settings: Any) -> str:
        """Begin a retraining, and return its run's id when the stage hangs."""
        self.note.unlink(missing_ok=True)
        run = self.begin({"CAC_TEST_HANG": stage}, **settings)
        wait_for(lambda: self.hanging() is not None or self.has_ended(run), f"{stage} to hang", 1200)
        assert self.hanging() is not None, self.explain(run)
        return run

    def hanging(self) -> int | None:
        """The process of the stage that hangs."""
        text = self.note.read_text() if self.note.exists() else ""
        return int(text) if text else None

    def release(self) -> None:
        """Let the hanging stage go on."""
        self.note.unlink()

    def kill_run(self, run: str, spare_stage: bool = False) -> None:
        """Kill the worker and all of a run's processes at once, as a failing machine does; or all but the stage's."""
        victims = [self.running.service("prefect", "worker"), *self._processes_of(run)]
        if spare_stage:
            victims = [each for each in victims if "prefect" in command_line(each)]
        for signal_number in (signal.SIGSTOP, signal.SIGKILL):  # so that none sees another die, and tells of it
            for each in victims:
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(signal_number)
        psutil.wait_procs(victims, timeout=30)

    def _processes_of(self, run: str) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("PREFECT__FLOW_RUN_ID", "").replace("-", "") == run.replace("-", ""):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def state(self, run: str) -> dict[str, Any]:
        return self.running.prefect(f"/flow_runs/{run}")["state"]

    def has_ended(self, run: str) -> bool:
        return self.state(run)["type"] in _ENDED

    def end(self, run: str, patience: float = 1800) -> dict[str, Any]:
        """Wait for the run's end and return its last state."""
        wait_for(lambda: self.has_ended(run), f"the end of {run}", patience)
        return self.state(run)

    def wait_until_gone(self, run: str) -> None:
        """Wait until no process of a run is left: it may be called crashed while it is still at work."""
        wait_for(lambda: not self._processes_of(run), f"the processes of {run} to end", 1800)

    def explain(self, run: str) -> str:
        """What the run logged, for a failed assertion."""
        body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        lines = [line["message"] for line in self.running.prefect("/logs/filter", body)]
        return "\n".join((str(self.state(run)), *lines))

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.running.verb("status").returncode == 0, "all services", 600)

    def give_slots_back(self) -> None:
        """Free the slots of killed runs, which the server does by itself after five minutes."""
        for name in LIMITS:
            self.running.prefect(f"/v2/concurrency_limits/{name}", {"active_slots": 0}, "PATCH")

    def processes(self, *words: str) -> list[psutil.Process]:
        """The stack's processes with all words in their command line."""
        return [each for each in self.running.processes() if all(word in command_line(each) for word in words)]

    def registered(self, complete: bool = False) -> dict[str, dict[str, str]]:
        """The versions of the model, all or the complete ones, as MLflow's server has them: {version: tags}."""
        path = "/api/2.0/mlflow/model-versions/search?filter=name%3D'cac-reward-model'&max_results=100"
        found = request_json(self.running.stack.settings.mlflow_port, path) or {}
        tags = {
            each["version"]: {tag["key"]: tag["value"] for tag in each.get("tags", ())}
            for each in found.get("model_versions", ())
        }
        return {key: value for key, value in tags.items() if not complete or value["registration"] == "complete"}

    def aliases(self) -> dict[str, str]:
        path = "/api/2.0/mlflow/registered-models/get?name=cac-reward-model"
        found = request_json(self.running.stack.settings.mlflow_port, path) or {"registered_model": {}}
        return {each["alias"]: each["version"] for each in found["registered_model"].get("aliases", ())}

    def stage_runs(self) -> list[tuple[str, str]]:
        """The stage and the status of each MLflow run."""
        port = self.running.stack.settings.mlflow_port
        found = request_json(port, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=cac")
        if not found:
            return []
        body = {"experiment_ids": [found["experiment"]["experiment_id"]], "max_results": 500}
        runs = (request_json(port, "/api/2.0/mlflow/runs/search", body) or {}).get("runs", ())
        return [(next(t["value"] for t in r["data"]["tags"] if t["key"] == "stage"), r["info"]["status"]) for r in runs]

    def check_nothing_is_half(self) -> None:
        """Check that every version is complete and of its own model, and aliases name versions that are there."""
        versions = self.registered()
        assert {tags["registration"] for tags in versions.values()} <= {"complete", "superseded"}, versions
        keys = [tags["registration_key"] for tags in versions.values() if tags["registration"] == "complete"]
        assert len(keys) == len(set(keys)), "one model was registered twice"
        assert set(self.aliases().values()) <= set(versions)
        assert not [each for each in self.stage_runs() if each[1] == "RUNNING"]

    def check_remote(self) -> None:
        """Check that every object in DVC's bucket is whole: its name is its content's hash.

        What a killed rclone leaves of an object on its way has a hidden name, and is no object to any client.
        """
        objects = list((self.running.stack.state / "s3" / "dvc" / "files").rglob("md5/??/[!.]*"))
        assert objects
        for path in objects:
            expected = path.parent.name + path.name.removesuffix(".dir")
            assert hashlib.md5(path.read_bytes()).hexdigest() == expected, path

    def new_data(self) -> None:
        """Commit another dataset, so that all stages are to be done again."""
        (self.checkout.root / "data" / "note.txt").write_text(f"{time.monotonic_ns()}")
        self.checkout.commit_data(TEST_CLIPS)
        self.checkout.ran()

    def change(self, seed: int) -> None:
        """Commit other settings, so that all stages but the validation are to be done again."""
        self.checkout.set_param("compute", "seed", seed)
        self.checkout.git("commit", "--quiet", "--all", "--message", f"Seed {seed}")


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Write down how long it took."""
    began = time.monotonic()
    yield
    TIMES.parent.mkdir(exist_ok=True)
    with TIMES.open("a", encoding="utf-8") as file:
        file.write(f"{time.monotonic() - began:7.1f} s  {what}\n")


def remove(checkout: Checkout) -> None:
    shutil.rmtree(checkout.root.with_name(f"{checkout.root.name}-beside"), ignore_errors=True)
