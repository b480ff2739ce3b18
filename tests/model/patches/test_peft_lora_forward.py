"""An adapter merged in the forward pass has the values and gradients of a separate one."""

from pathlib import Path

import pytest
import torch

from cac.model.adapters import freeze_vision, new_adapter
from cac.model.loading import load_base
from cac.model.patches.peft_lora_forward import merge_lora_in_forward
from cac.params import Model, Params


@pytest.fixture
def model(fresh_base: Path, project_params: Params):
    base, _ = load_base(Model(base=str(fresh_base), revision=None, dtype="float32"))
    model = new_adapter(base, project_params.adapter)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def learned(model) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the logits of a few tokens, and the gradient of each adapter weight."""
    model.zero_grad()
    logits = model(input_ids=torch.arange(5, 29).view(2, 12)).logits
    logits.square().mean().backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_values_and_gradients_equal_those_of_a_separate_adapter(model) -> None:
    expected, gradients = learned(model)
    products: list[int] = []
    for name, layer in model.named_modules():
        if name.endswith("lora_A.default") and ".language_model." in name:
            layer.register_forward_hook(lambda *_: products.append(1))
    merge_lora_in_forward(model)
    logits, found = learned(model)
    assert products == []
    assert found.keys() == gradients.keys()
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-3)
    assert any(gradient.abs().max() > 1e-4 for gradient in gradients.values())


def test_a_merged_or_disabled_adapter_is_not_added_again(model) -> None:
    freeze_vision(model)
    tower = model.get_base_model().model.visual
    batch = {"hidden_states": torch.rand(64, 384), "grid_thw": torch.tensor([(1, 8, 8)])}
    ids = {"input_ids": torch.arange(5, 29).view(2, 12)}
    with torch.no_grad(), model.disable_adapter():
        plain = model(**ids).logits
    merged = tower(**batch).pooler_output
    merge_lora_in_forward(model)
    assert torch.equal(tower(**batch).pooler_output, merged)
    with torch.no_grad(), model.disable_adapter():
        assert torch.equal(model(**ids).logits, plain)
    assert not torch.allclose(model(**ids).logits, plain, atol=1e-3)
