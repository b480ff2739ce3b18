"""Ray's actors against one process: a registered model, real videos, and the same bytes. Skipped without the extra."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.adapters import changed_adapter
from helpers.judges import clip
from helpers.rl_store import NAME, register_package

from cac.batch.listing import ListedVideo
from cac.batch.parts_folder import PartsFolder
from cac.batch.plan import BatchSettings, Plan
from cac.batch.ray_engine import PartScorer
from cac.cli import main as cli
from cac.io.s3 import StoreUnreachableError
from cac.video.encode import encode

pytestmark = pytest.mark.slow

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is an extra: uv pip install -e '.[ray]'"
)
MODEL = f"models:/{NAME}/1"
COUNT = 10  # three parts of up to four with a batch size of 1


class Silent:
    """A source that does not answer."""

    def read(self, video: ListedVideo, most_bytes: int) -> bytes:
        raise StoreUnreachableError("nobody answers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "videos"
    folder.mkdir()
    for i in range(COUNT - 1):
        video = clip(20 + 25 * i)
        encode(folder / f"{i}.mp4", video.frames, video.fps)
    (folder / "a text.mp4").write_text("no video")
    return folder


@pytest.fixture
def registered(tmp_path, store_of, project_params, fresh_base) -> None:
    """A store with a version whose words mean nothing; that they are the same is what is asked for."""
    from cac.model.adapters import save_adapter
    from cac.model.calibration import Calibration
    from cac.model.loading import base_identity, load_base
    from cac.model.package import PackageSettings, write_package
    from cac.tracking.mlflow_runs import connect

    store_of(tmp_path)
    small = {"coarse_count": 3, "coarse_size": 32, "dense_count": 2, "dense_size": 32}
    frames = project_params.frames.model_copy(update=small)
    model = project_params.model.model_copy(update={"base": str(fresh_base)})
    adapted = changed_adapter(load_base(model)[0], project_params.adapter)
    save_adapter(adapted, tmp_path / "adapter", base_identity(model))
    settings = PackageSettings(base=model, frames=frames, calibration=Calibration(), max_turn_tokens=24)
    write_package(tmp_path / "package", tmp_path / "adapter", settings)
    register_package(connect(), tmp_path / "package", "complete")


def run_verb(tmp_path: Path, folder: Path, out: str, *options: str) -> subprocess.CompletedProcess:
    """Run the verb as a user does: Ray forks from it, and this process has threads."""
    command = ["score-batch", str(folder), "--model", MODEL, "--out", out, "--batch-size", "1", *options]
    return subprocess.run(
        [sys.executable, "-m", "cac", *command], cwd=tmp_path, capture_output=True, text=True, env=os.environ
    )


@needs_ray
def test_ray_gives_the_bytes_of_one_process_and_goes_on_with_its_run(folder, registered, tmp_path):
    alone, together = tmp_path / "alone.parquet", tmp_path / "together.parquet"
    done = run_verb(tmp_path, folder, "alone.parquet")
    assert done.returncode == 2, done.stderr  # the text
    leave_one_part(folder, together, alone)
    done = run_verb(tmp_path, folder, "together.parquet", "--engine", "ray", "--actors", "2")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert f"wrote together.parquet: {COUNT} videos, 1 without a score" in done.stdout
    assert together.read_bytes() == alone.read_bytes()


def leave_one_part(folder: Path, out: Path, whole: Path) -> None:
    """Leave what a run that was cut off after its second part leaves."""
    import pyarrow.parquet as pq

    from cac.batch.listing import open_source
    from cac.batch.table import write_part

    plan = Plan(str(folder), MODEL, BatchSettings(batch_size=1), tuple(open_source(str(folder)).videos()))
    work = PartsFolder(out)
    with work.locked():
        work.begin(plan)
        rows = pq.ParquetFile(whole).read().to_pylist()
        write_part(work.part(1), rows[plan.part_size : 2 * plan.part_size])


@needs_ray
def test_at_least_one_actor_is_asked_for(folder, tmp_path, capsys):
    out = str(tmp_path / "x.parquet")
    assert (
        cli.main(["score-batch", str(folder), "--model", MODEL, "--out", out, "--engine", "ray", "--actors", "0"]) == 2
    )
    assert "--actors must be 1 or more" in capsys.readouterr().err


def test_an_actor_tells_of_a_store_that_does_not_answer(tmp_path):
    """Ray would wrap an error in its own; the run must end with the store's message."""
    scorer = object.__new__(PartScorer)
    settings, videos = BatchSettings(batch_size=1), (ListedVideo("a.mp4", 1, "0"),)
    scorer._plan, scorer._parts, scorer._pinned = Plan("s3://b", MODEL, settings, videos), [videos], None
    scorer._source = Silent()
    assert scorer({"part": [0]}) == {"part": [0], "rows": [""], "error": ["nobody answers"]}


def test_without_ray_the_extra_is_named(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    out = str(tmp_path / "x.parquet")
    assert cli.main(["score-batch", str(folder), "--model", MODEL, "--out", out, "--engine", "ray"]) == 2
    assert "uv pip install -e '.[ray]'" in capsys.readouterr().err
