"""A judge that can speak: the nano, taught within seconds that dark clips are clean and bright ones anomalous.

What a base of random weights says has nothing to do with a clip, so it would not log one reward from another.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.adapters import save_changed_adapter
from helpers.rl_clips import MOTION, moving
from helpers.rl_store import NAME, register_package

from cac.model.calibration import Calibration
from cac.model.package import PackageSettings, write_package
from cac.params import Model, Params
from cac.registry.pinned import PinnedModel, pin_package
from cac.rl.monitor import MonitorSettings
from cac.rl.reward import Rewarder, RewardSettings
from cac.schema.dialogue import Finding, Look, look_prompt, look_reply
from cac.schema.taxonomy import family_of
from cac.video.decode import Video
from cac.video.views import only_view

WHOLE = (0.0, 0.0, 1.0, 1.0)


def short_looks(params: Params):
    """One look at two small frames."""
    update = {"looks": 1, "coarse_count": 1, "dense_count": 1, "one_look_size": 32}
    return params.frames.model_copy(update=update)


@pytest.fixture(scope="session")
def judging_base(tmp_path_factory, project_params: Params) -> Path:
    import torch
    from transformers import GenerationConfig, Qwen3VLForConditionalGeneration

    from cac.model.nano import build_config, build_processor

    torch.manual_seed(0)
    processor = build_processor()
    tokenizer = processor.tokenizer
    model = Qwen3VLForConditionalGeneration(build_config(tokenizer))
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    _teach(model, processor, short_looks(project_params))
    folder = tmp_path_factory.mktemp("judging") / "base"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _teach(model, processor, frames) -> None:
    import torch

    from cac.training.collator import Dialogue, collate, training_template

    def dialogue(video: Video, clean: bool) -> Dialogue:
        view = only_view(video, frames)
        if clean:
            look = Look(tuple(Finding(time) for time in view.times), None, None, "clean")
        else:
            found = tuple(Finding(time, WHOLE) for time in view.times)
            look = Look(found, family_of("vanishing"), "vanishing", "anomalous")
        return Dialogue([*look_prompt(view.images, view.times), look_reply(look)], has_tool=False)

    rng = np.random.default_rng(0)
    template = training_template(processor)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(70):
        levels = rng.integers(0, 110, 2), rng.integers(146, 256, 2)
        samples = [(moving(int(level), seed=step), True) for level in levels[0]]
        samples += [(moving(int(level), seed=step), False) for level in levels[1]]
        model(**collate(processor, template, [dialogue(*sample) for sample in samples])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(scope="session")
def pack(tmp_path_factory, project_params: Params) -> Callable[..., Path]:
    """Return what makes a package of a base, the calibration's bias and the maximum length of an answer."""

    def make(base: Path, bias: float, max_turn_tokens: int = 40) -> Path:
        from cac.model.loading import base_identity, load_base

        settings = Model(base=str(base), revision=None, dtype="float32")
        folder = tmp_path_factory.mktemp("package")
        adapter = project_params.adapter.model_copy(update={"r": 2})
        save_changed_adapter(load_base(settings)[0], adapter, folder / "adapter", base_identity(settings))
        packed = PackageSettings(settings, short_looks(project_params), Calibration(10.0, bias), max_turn_tokens)
        write_package(folder / "package", folder / "adapter", packed)
        return folder / "package"

    return make


@pytest.fixture(scope="session")
def package(pack, judging_base: Path) -> Path:
    return pack(judging_base, 0.0)


@pytest.fixture(scope="session")
def pinned(package: Path) -> PinnedModel:
    return pin_package(package)


@pytest.fixture
def rewarder(pinned: PinnedModel) -> Rewarder:
    return Rewarder(pinned, RewardSettings(MOTION), watch=MonitorSettings(window=4), batch_size=3)


@pytest.fixture(scope="session")
def versions(tmp_path_factory, package: Path, pack, judging_base: Path) -> str:
    """A real store with two complete versions, the second of another calibration, and one that was cut off."""
    from cac.registry.versions import COMPLETE, INCOMPLETE
    from cac.tracking.mlflow_runs import connect

    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        client = connect(create=True)
        for made, state in ((package, COMPLETE), (pack(judging_base, -3.0), COMPLETE), (package, INCOMPLETE)):
            register_package(client, made, state)
    return uri


@pytest.fixture
def store(versions: str, monkeypatch):
    """A client of that store, the one in force, with version 1 as champion."""
    from cac.tracking.mlflow_runs import connect

    monkeypatch.setenv("MLFLOW_TRACKING_URI", versions)
    client = connect()
    client.set_registered_model_alias(NAME, "champion", "1")
    return client


@pytest.fixture(scope="session")
def policy():
    """A language model of random weights with the nano's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from cac.model.nano import build_processor

    processor = build_processor()
    tokenizer = processor.tokenizer
    tokenizer.chat_template = processor.chat_template
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config), tokenizer
