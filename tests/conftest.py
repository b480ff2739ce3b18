"""Shared real things: the project's settings, a small rendered dataset, and a base model with fresh weights."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
from helpers.s3_server import S3Server

from cac.params import Params, load_params

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def project_params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory, project_params: Params) -> Path:
    """Eighteen pairs of short clips, all families and splits among them."""
    from cac.data.sample.build import build_dataset

    small = {
        "pairs": 18,
        "shifted_pairs": 0,
        "hard_train_pairs": 0,
        "hard_test_pairs": 0,
        "min_frames": 16,
        "max_frames": 18,
    }
    small |= {"val_ratio": 0.15, "test_ratio": 0.2}
    data = project_params.procedural_data.model_copy(update=small)
    out = tmp_path_factory.mktemp("dataset") / "data"
    build_dataset(out, project_params.model_copy(update={"procedural_data": data}))
    return out


@pytest.fixture(scope="session")
def fresh_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano with random weights, saved as a base: tests of mechanics need no skill."""
    import torch
    from transformers import GenerationConfig, Qwen3VLForConditionalGeneration

    from cac.model.nano import build_config, build_processor

    torch.manual_seed(0)
    processor = build_processor()
    model = Qwen3VLForConditionalGeneration(build_config(processor.tokenizer, initializer_range=0.08))
    tokenizer = processor.tokenizer
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    folder = tmp_path_factory.mktemp("base") / "fresh"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; making one takes longer than using it."""
    from cac.tracking.mlflow_runs import connect

    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        _work_in(folder, patch)
        connect(create=True).search_experiments()
    return folder / ".mlflow" / "mlflow.db"


@pytest.fixture
def store_of(migrated_store: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return what gives a folder an MLflow store of its own and makes it the current folder."""

    def give(folder: Path) -> None:
        (folder / ".mlflow").mkdir()
        shutil.copy(migrated_store, folder / ".mlflow" / "mlflow.db")
        _work_in(folder, monkeypatch)

    return give


def _work_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(folder)
    # MLflow itself sets the variable; setting it first is what makes the patch put it back after the test.
    patch.setenv("MLFLOW_TRACKING_URI", "unset")
    patch.delenv("MLFLOW_TRACKING_URI")


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A real S3 server with an empty bucket; this process's environment says where it is."""
    server = S3Server(tmp_path / "s3")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    server.start()
    yield server
    server.kill()
