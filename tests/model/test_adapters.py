from pathlib import Path

import pytest
import torch
from helpers.adapters import changed_adapter

from cac.errors import CacError
from cac.model.adapters import freeze_vision, load_adapter, new_adapter, save_adapter
from cac.model.loading import base_identity, load_base
from cac.params import Model, Params


@pytest.fixture
def settings(fresh_base: Path) -> Model:
    return Model(base=str(fresh_base), revision=None, dtype="float32")


def adapted(settings: Model, params: Params):
    """Return the base with an adapter that changes what it computes."""
    return changed_adapter(load_base(settings)[0], params.adapter)


def test_a_fresh_adapter_computes_what_the_base_does(settings: Model, project_params: Params) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    base, _ = load_base(settings)
    expected = base(input_ids=ids).logits
    adapted = new_adapter(base, project_params.adapter)
    assert torch.equal(adapted(input_ids=ids).logits, expected)
    trainable = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)


def test_an_adapter_is_handed_on_whole_and_trainable(settings: Model, project_params: Params, tmp_path: Path) -> None:
    identity = base_identity(settings)
    model = adapted(settings, project_params)
    save_adapter(model, tmp_path / "one", identity)
    save_adapter(model, tmp_path / "two", identity)
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert set(files) == {"adapter_config.json", "adapter_model.safetensors"}
    assert str(tmp_path).encode() not in files["adapter_config.json"]
    again = load_adapter(load_base(settings)[0], tmp_path / "one", identity, project_params.adapter, trainable=True)
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)
    assert any(parameter.requires_grad for parameter in again.parameters())


def test_an_adapter_that_is_only_used_becomes_part_of_the_base(
    settings: Model, project_params: Params, tmp_path: Path
) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    plain = load_base(settings)[0](input_ids=ids).logits
    model = adapted(settings, project_params)
    save_adapter(model, tmp_path / "adapter", base_identity(settings))
    base, identity = load_base(settings)[0], base_identity(settings)
    merged = load_adapter(base, tmp_path / "adapter", identity, project_params.adapter, trainable=False)
    assert not any("lora_" in name for name, _ in merged.named_parameters())
    torch.testing.assert_close(merged(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(merged(input_ids=ids).logits, plain, atol=1e-2)


def test_a_frozen_tower_sees_as_before_and_is_saved_as_before(
    settings: Model, project_params: Params, tmp_path: Path
) -> None:
    images = {"hidden_states": torch.rand(64, 384), "grid_thw": torch.tensor([[1, 8, 8]])}
    model = adapted(settings, project_params)
    save_adapter(model, tmp_path / "before", "base")
    before = model.get_base_model().model.visual(**images).pooler_output
    freeze_vision(model)
    after = model.get_base_model().model.visual(**images).pooler_output
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    save_adapter(model, tmp_path / "after", "base")
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("before", "after")]
    assert weights[0] == weights[1]
    assert {".visual." in name for name, parameter in model.named_parameters() if parameter.requires_grad} == {False}


def test_an_adapter_refuses_another_base(settings: Model, project_params: Params, tmp_path: Path) -> None:
    model = new_adapter(load_base(settings)[0], project_params.adapter)
    save_adapter(model, tmp_path / "adapter", "other-base")
    base, identity = load_base(settings)[0], base_identity(settings)
    with pytest.raises(CacError, match="trained on base 'other-base', but the base here is 'fresh-"):
        load_adapter(base, tmp_path / "adapter", identity, project_params.adapter, trainable=False)


def test_missing_or_mismatched_parts_are_errors_that_name_them(
    settings: Model, project_params: Params, tmp_path: Path
) -> None:
    base, _ = load_base(settings)
    with pytest.raises(CacError, match="no adapter at"):
        load_adapter(base, tmp_path / "none", "x", project_params.adapter, trainable=False)
    with pytest.raises(CacError, match=r"adapter\.target_modules 'nothing' matches no module"):
        new_adapter(base, project_params.adapter.model_copy(update={"target_modules": "nothing"}))
    with pytest.raises(CacError, match=r"set model\.revision"):
        load_base(Model(base="some/hub-id", revision=None, dtype="float32"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CacError, match=r"has no \*\.safetensors"):
        load_base(Model(base=str(tmp_path / "empty"), revision=None, dtype="float32"))
