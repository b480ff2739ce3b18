"""The preallocated cache holds what the dynamic cache of Transformers holds, in every operation of generation."""

from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.cache_utils import DynamicLayer

from cac.model.adapters import new_adapter
from cac.model.loading import load_base
from cac.model.patches.transformers_kv_cache import SPARE_COLUMNS, PreallocatedLayer, use_preallocated_cache
from cac.params import Model, Params

lengths = st.lists(st.integers(1, SPARE_COLUMNS + 5), min_size=1, max_size=6)


def states(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, 2, columns, 4, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(lengths, lengths, st.lists(st.integers(0, 2), min_size=1, max_size=3))
def test_it_holds_the_same_states_as_the_dynamic_cache(before, after, chosen) -> None:
    plain, preallocated = DynamicLayer(), PreallocatedLayer()
    for turn, columns_of_turn in enumerate((before, after)):
        rows = 3 if turn == 0 else len(chosen)
        for step, columns in enumerate(columns_of_turn):
            new = (states(rows, columns, 10 * turn + step), states(rows, columns, 100 + 10 * turn + step))
            expected, found = plain.update(*new), preallocated.update(*new)
            assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
        assert preallocated.get_seq_length() == plain.get_seq_length()
        if turn == 0:
            for layer in (plain, preallocated):
                layer.batch_select_indices(torch.tensor(chosen))


def test_appending_a_token_does_not_copy_the_others() -> None:
    layer = PreallocatedLayer()
    first, _ = layer.update(states(2, 7, 0), states(2, 7, 1))
    second, _ = layer.update(states(2, 1, 2), states(2, 1, 3))
    assert second.data_ptr() == first.data_ptr()


def test_cropped_columns_are_overwritten() -> None:
    plain, preallocated = DynamicLayer(), PreallocatedLayer()
    for layer in (plain, preallocated):
        layer.update(states(2, 7, 0), states(2, 7, 1))
        layer.crop(-3)
    expected, found = (layer.update(states(2, 2, 2), states(2, 2, 3)) for layer in (plain, preallocated))
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_a_model_generates_the_same_tokens_with_a_preallocated_cache(fresh_base: Path, project_params: Params) -> None:
    model, processor = load_base(Model(base=str(fresh_base), revision=None, dtype="float32"))
    ids = processor.tokenizer("list all", return_tensors="pt")["input_ids"]
    settings = {"max_new_tokens": 9, "do_sample": False, "return_dict_in_generate": True}
    plain = model.generate(ids, **settings)
    wrapped = new_adapter(model, project_params.adapter)
    use_preallocated_cache(wrapped)
    for _ in range(2):  # each call has a cache of its own
        preallocated = wrapped.generate(input_ids=ids, **settings)
        assert torch.equal(preallocated.sequences, plain.sequences)
        assert all(isinstance(layer, PreallocatedLayer) for layer in preallocated.past_key_values.layers)
