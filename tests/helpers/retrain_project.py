"""A project under git whose stages cost nothing but leave what can be registered, and retrainings of it."""

import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.adapters import save_changed_adapter
from helpers.flow_project import Project
from helpers.tiny_versions import Tiny, answers

from cac.params import Params
from cac.schema.annotations import Clip, write_clips
from cac.video.encode import encode

ROOT = Path(__file__).parents[2]
STAGES = ["validate", "single_frame_sft", "multi_frame_sft", "two_turn_grpo", "evaluate"]
TEST_CLIPS = answers(Tiny(pairs=10)).clips
TRAIN_CLIPS = [clip.model_copy(update={"clip_id": f"t-{clip.clip_id}", "split": "train"}) for clip in TEST_CLIPS[:2]]


@dataclass(frozen=True)
class Checkout(Project):
    """A project under git, with a DVC remote."""

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
        done = subprocess.run(
            ("git", *identity, *arguments), cwd=self.root, env=self.env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")

    def commit_data(self, clips: list[Clip]) -> str:
        (self.root / "data").mkdir(exist_ok=True)
        (self.root / "data" / "annotations.jsonl").unlink(missing_ok=True)
        write_clips(self.root / "data", clips)
        for clip in clips:  # the model card draws some of them
            _write_video(self.root / "data" / clip.path, clip)
        self.dvc("add", "--quiet", "data")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"Data: {len(clips)} clips")
        return self.git("rev-parse", "HEAD")

    def start(self, revision: str = "main", hang: str = "", **settings: Any) -> subprocess.Popen[str]:
        parameters = json.dumps({"revision": revision, "settings": settings})
        command = (sys.executable, str(ROOT / "tests" / "helpers" / "retrain_once.py"), parameters)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=self.root, env=self.env | {"CAC_TEST_HANG": hang}, text=True, **pipes)

    def retrain(self, revision: str = "main", **settings: Any) -> dict[str, str]:
        out, _ = self.start(revision, **settings).communicate(timeout=900)
        try:
            return json.loads(out.splitlines()[-1])
        except (ValueError, IndexError):
            pytest.fail(out)

    def branches(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname:short)", "refs/heads/retraining").split()

    def ran(self) -> list[str]:
        log = Path(self.env["CAC_TEST_RAN"])
        stages = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return stages

    def aliases(self) -> dict[str, str]:
        """The model's aliases as the store has them, {alias: version}."""
        with sqlite3.connect(self.root / ".mlflow" / "mlflow.db") as database:
            rows = database.execute("select alias, version from registered_model_aliases")
            return {alias: str(version) for alias, version in rows}


def make_checkout(root: Path, fresh_project: Path, env: dict[str, str], base: Path, params: Params) -> Checkout:
    """Copy the project to `root`, on the branch main; what its stages need lies beside it, and there is no data yet."""
    folder = root.with_name(f"{root.name}-beside")
    folder.mkdir()
    names = {"CAC_TEST_RAN": str(folder / "ran"), "CAC_TEST_ADAPTER": str(_adapter(folder, base, params))}
    shutil.copytree(fresh_project, root, dirs_exist_ok=True)
    made = Checkout(root, env | names)
    _write_project(root, base)
    made.git("checkout", "--quiet", "-b", "main")
    return made


def _write_video(path: Path, clip: Clip) -> None:
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        encode(path, np.zeros((clip.frame_count, clip.height, clip.width, 3), np.uint8), fps=clip.fps)


def _adapter(folder: Path, base: Path, params: Params) -> Path:
    from transformers import Qwen3VLForConditionalGeneration

    from cac.model.loading import base_identity

    model = Qwen3VLForConditionalGeneration.from_pretrained(base)
    identity = base_identity(params.model.model_copy(update={"base": str(base)}))
    save_changed_adapter(model, params.adapter.model_copy(update={"r": 2}), folder / "adapter", identity)
    return folder / "adapter"


def _write_project(root: Path, base: Path) -> None:
    graph = (root / "dvc.yaml").read_text()
    (root / "dvc.yaml").write_text(graph.replace("python cheap_stage.py", "python retrain_stage.py"))
    shutil.copy(Path(__file__).with_name("retrain_stage.py"), root)
    shutil.copy(ROOT / ".gitignore", root)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["model"]["base"] = str(base)
    params["evaluation"] |= {"max_turn_tokens": 8, "bootstrap_samples": 50}
    gate = params["registry"]["gate"]
    gate |= {"max_seconds_per_clip": 1e6, "max_expected_calibration_error": 1.0}
    gate["max_worsening"]["expected_calibration_error"] = 1.0  # of a handful of clips
    (root / "params.yaml").write_text(yaml.safe_dump(params))
