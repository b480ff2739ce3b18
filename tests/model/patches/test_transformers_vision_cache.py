"""Equal images are encoded once by a frozen vision tower, with the same values."""

from pathlib import Path

import pytest
import torch

from cac.model.adapters import freeze_vision, new_adapter
from cac.model.loading import load_base
from cac.model.patches.transformers_vision_cache import ImageEncodingCache, cache_image_encodings
from cac.params import Model, Params


@pytest.fixture
def model(fresh_base: Path, project_params: Params):
    base, _ = load_base(Model(base=str(fresh_base), revision=None, dtype="float32"))
    return new_adapter(base, project_params.adapter)


def images(*grids: tuple[int, int, int]) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    grid_thw = torch.tensor(grids)
    return {"hidden_states": torch.rand(int(grid_thw.prod(dim=1).sum()), 384), "grid_thw": grid_thw}


def repeated(batch: dict[str, torch.Tensor], order: list[int]) -> dict[str, torch.Tensor]:
    parts = batch["hidden_states"].split(batch["grid_thw"].prod(dim=1).tolist())
    return {"hidden_states": torch.cat([parts[i] for i in order]), "grid_thw": batch["grid_thw"][order]}


def test_equal_images_are_encoded_once_with_the_same_values(model) -> None:
    freeze_vision(model)
    tower = model.get_base_model().model.visual
    distinct = images((1, 8, 8), (1, 12, 12), (1, 8, 8))
    batch = repeated(distinct, [0, 1, 0, 2, 1, 0])
    expected = tower(**batch)
    rows: list[int] = []
    tower.patch_embed.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))
    cache_image_encodings(model)
    found = tower(**batch)
    assert rows == [64 + 144 + 64]
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state)
    torch.testing.assert_close(found.pooler_output, expected.pooler_output)
    torch.testing.assert_close(found.deepstack_features, expected.deepstack_features)


def test_a_cache_is_shared_by_models_with_equal_towers_only(fresh_base: Path) -> None:
    first, second, other = (load_base(Model(base=str(fresh_base), revision=None, dtype="float32"))[0] for _ in range(3))
    with torch.no_grad():
        other.model.visual.pos_embed.weight += 0.1
    batch = images((1, 8, 8), (1, 12, 12), (1, 8, 8))
    for model in (first, second, other):
        model.requires_grad_(False)
    expected, unlike = first.model.visual(**batch), other.model.visual(**batch)
    cache, rows = ImageEncodingCache(10**8), []
    for model in (first, second, other):
        embed = model.model.visual.patch_embed
        embed.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))
    cache_image_encodings(first, cache)
    first.model.visual(**repeated(batch, [1, 2]))
    torch.testing.assert_close(first.model.visual(**batch).pooler_output, expected.pooler_output)
    assert rows == [144 + 64, 64]
    cache_image_encodings(second, cache)
    torch.testing.assert_close(second.model.visual(**batch).deepstack_features, expected.deepstack_features)
    assert rows == [144 + 64, 64]
    cache_image_encodings(other, cache)
    torch.testing.assert_close(other.model.visual(**batch).pooler_output, unlike.pooler_output)
    assert rows == [144 + 64, 64, 64 + 144 + 64]


def test_a_full_cache_is_emptied(fresh_base: Path) -> None:
    model, _ = load_base(Model(base=str(fresh_base), revision=None, dtype="float32"))
    model.requires_grad_(False)
    batch, rows = images((1, 8, 8)), []
    model.model.visual.patch_embed.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))
    cache_image_encodings(model, ImageEncodingCache(10))
    seen = [model.model.visual(**batch).pooler_output for _ in range(2)]
    assert rows == [64, 64]
    torch.testing.assert_close(*seen)


def test_equal_pixels_in_another_shape_are_another_image(model) -> None:
    freeze_vision(model)
    cache_image_encodings(model)
    tower = model.get_base_model().model.visual
    pixels = images((1, 4, 16))["hidden_states"]
    both = {"hidden_states": torch.cat([pixels, pixels]), "grid_thw": torch.tensor([(1, 4, 16), (1, 16, 4)])}
    wide, tall = tower(**both).pooler_output.split(16)
    assert not torch.allclose(wide, tall, atol=1e-4)


def test_a_trainable_tower_is_an_error(model) -> None:
    with pytest.raises(ValueError, match="being trained"):
        cache_image_encodings(model)
