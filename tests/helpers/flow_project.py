"""A small project and what tests do with it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Project:
    root: Path
    env: dict[str, str]

    def command(self, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", *arguments)
        return subprocess.run(command, cwd=self.root, env=self.env, capture_output=True, text=True, timeout=timeout)

    def dvc(self, *arguments: str) -> str:
        done = self.command("dvc", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ran(self) -> list[str]:
        """The stages that ran since the last call."""
        log = self.root / "ran.log"
        stages = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return stages

    def set_param(self, section: str, key: str, value: object) -> None:
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        assert key in params[section]
        params[section][key] = value
        path.write_text(yaml.safe_dump(params))
