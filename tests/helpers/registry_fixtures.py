"""A real MLflow store for each test (one SQLite file is migrated a session, and copied), and a model without skill."""

from pathlib import Path

import pytest
from helpers.adapters import save_changed_adapter

from cac.params import MaxWorsening, Params, load_params
from cac.registry.versions import BEST, get_aliases
from cac.tracking.mlflow_runs import connect

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def params() -> Params:
    """The project's settings, but for how far a candidate may fall behind: tests have tens of clips, not hundreds."""
    params = load_params(REPOSITORY / "params.yaml")
    gate = params.registry.gate
    worsening = gate.max_worsening.model_copy(update=dict.fromkeys(MaxWorsening.model_fields, 0.1))
    gate = gate.model_copy(update={"max_worsening": worsening, "max_family_accuracy_drop": 0.2})
    changed = {
        "registry": params.registry.model_copy(update={"gate": gate}),
        "evaluation": params.evaluation.model_copy(update={"bootstrap_samples": 200}),
    }
    return params.model_copy(update=changed)


@pytest.fixture
def project(tmp_path, store_of) -> Path:
    """An empty project folder with a store of its own, being the current folder."""
    store_of(tmp_path)
    return tmp_path


@pytest.fixture
def aliases(project, params):
    """Return what reads the model's aliases but for the best: {alias: version}."""
    return lambda: {k: v for k, v in get_aliases(connect(), params.registry.model_name).items() if k != BEST}


@pytest.fixture
def best(project, params):
    """Return what reads the number of the version that is pinned as the best; None if there is none."""
    return lambda: get_aliases(connect(), params.registry.model_name).get(BEST)


@pytest.fixture
def tags(project, params):
    """Return what reads a version's tags."""
    return lambda version: connect().get_model_version(params.registry.model_name, version).tags


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, params) -> tuple[Path, Path]:
    """A nano of random weights and an adapter on it: (base folder, adapter folder)."""
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    from cac.model.loading import base_identity
    from cac.model.nano import build_config, build_processor

    base, adapter = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    processor = build_processor()
    model = Qwen3VLForConditionalGeneration(build_config(processor.tokenizer))
    model.save_pretrained(base)
    processor.save_pretrained(base)
    settings = params.adapter.model_copy(update={"r": 2})
    identity = base_identity(params.model.model_copy(update={"base": str(base)}))
    save_changed_adapter(model, settings, adapter, identity)
    return base, adapter


@pytest.fixture(scope="session")
def on_base(params, checkpoint) -> Params:
    """Settings for that base: short answers, and no bound on how long they take, as machines are slow at times."""
    gate = params.registry.gate.model_copy(update={"max_seconds_per_clip": 1e6})
    changed = {
        "model": params.model.model_copy(update={"base": str(checkpoint[0])}),
        "evaluation": params.evaluation.model_copy(update={"max_turn_tokens": 8, "bootstrap_samples": 50}),
        "registry": params.registry.model_copy(update={"gate": gate}),
    }
    return params.model_copy(update=changed)
