"""Attention batched over images of one size: equal values and gradients for any sizes in any order."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.model.loading import load_base
from cac.model.patches.transformers_vision_attention import batch_vision_attention
from cac.params import Model


@pytest.fixture(scope="module")
def towers(fresh_base: Path):
    """The vision tower of Transformers, and a patched one."""
    from transformers import Qwen3VLForConditionalGeneration

    plain, batched = (Qwen3VLForConditionalGeneration.from_pretrained(fresh_base) for _ in range(2))
    batch_vision_attention(batched)
    return plain.model.visual, batched.model.visual


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from([(4, 4), (6, 6), (4, 6), (2, 8)]), min_size=1, max_size=6))
def test_values_and_gradients_equal_those_of_the_original(towers, grids) -> None:
    grid = torch.tensor([[1, rows, columns] for rows, columns in grids])
    pixels = torch.randn(int(grid.prod(dim=1).sum()), 3 * 2 * 8 * 8, generator=torch.Generator().manual_seed(0))
    found = []
    for tower in towers:
        tower.zero_grad()
        output = tower(pixels, grid_thw=grid).pooler_output
        output.square().sum().backward()
        found.append((output.detach(), tower.blocks[0].attn.qkv.weight.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_loaded_base_attends_once_for_each_image_size(fresh_base: Path, monkeypatch) -> None:
    model, _ = load_base(Model(base=str(fresh_base), revision=None, dtype="float32"))
    calls = []
    monkeypatch.setattr(
        "cac.model.patches.transformers_vision_attention._attend",
        lambda *args: calls.append(args[2]) or args[1][2].flatten(1),
    )
    grid = torch.tensor([[1, 4, 4], [1, 6, 6], [1, 4, 4]])
    model.model.visual(torch.zeros(68, 384), grid_thw=grid)
    assert calls == [16, 36] * len(model.model.visual.blocks)
