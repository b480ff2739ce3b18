"""Replaces `DynamicLayer.update` of Transformers 5.23.0: a key/value cache that grows in place.

Transformers concatenates old and new states into a new tensor for every token of every layer, a seventh of the nano's
inference time. `PreallocatedLayer` writes new states into spare columns of a larger tensor. The values are equal. It
writes in place, so it is only for passes without gradients.

Remove it when the dynamic cache of Transformers preallocates. `test_patched_functions.py` fails when `update` changes.
"""

from typing import TYPE_CHECKING, Any

from transformers.cache_utils import Cache, DynamicLayer

from cac.model.adapters import without_wrapper

if TYPE_CHECKING:
    from torch import Tensor

SPARE_COLUMNS = 64  # about the length of an answer


class PreallocatedLayer(DynamicLayer):
    """The keys and values of one layer, each a view of the first columns of a larger buffer."""

    _buffers: tuple["Tensor", "Tensor"] | None = None

    def update(self, key_states: "Tensor", value_states: "Tensor", *_: Any, **__: Any) -> tuple["Tensor", "Tensor"]:
        """Append states (rows, heads, columns, width) and return all states."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        buffers = self._buffers or (None, None)
        self.keys, key_buffer = _append(self.keys, buffers[0], key_states)
        self.values, value_buffer = _append(self.values, buffers[1], value_states)
        self._buffers = (key_buffer, value_buffer)
        return self.keys, self.values


def preallocated_cache() -> Cache:
    """Return an empty cache for a generation and the turns that continue it."""
    return Cache(layer_class_to_replicate=PreallocatedLayer)


def use_preallocated_cache(model: Any) -> None:
    """Make `generate` of a model, wrapped by an adapter or not, start with a preallocated cache."""
    model = without_wrapper(model)
    generate = model.generate

    def generate_preallocated(*args: Any, **options: Any) -> Any:
        return generate(*args, **{"past_key_values": preallocated_cache(), **options})

    model.generate = generate_preallocated


def _append(states: Any, buffer: "Tensor | None", new: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Return `states` followed by `new`, and their buffer: the given one, or a larger one if they do not fit."""
    length = states.shape[-2] if states.numel() else 0
    total = length + new.shape[-2]
    is_view = buffer is not None and states.data_ptr() == buffer.data_ptr() and len(states) == len(buffer)
    if buffer is None or not is_view or buffer.shape[-2] < total:
        buffer = new.new_empty((*new.shape[:-2], total + SPARE_COLUMNS, new.shape[-1]))
        if length:
            buffer[..., :length, :] = states
    buffer[..., length:total, :] = new
    return buffer[..., :total, :], buffer
