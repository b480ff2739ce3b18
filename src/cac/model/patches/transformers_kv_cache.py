"""A key/value cache with room to grow: a token more is written behind the others, not into a copy of all of them.

Transformers' dynamic cache puts old and new together anew for every token of every layer: a seventh of the time in
which the nano judges. Values are the same. Only for passes without gradients, because it writes in place.
"""

from typing import TYPE_CHECKING, Any

from transformers.cache_utils import Cache, DynamicLayer

from cac.model.adapters import without_wrapper

if TYPE_CHECKING:
    from torch import Tensor

ROOM = 64  # columns; about an answer


class PreallocatedLayer(DynamicLayer):
    """One layer's keys and values, each the beginning of a larger tensor."""

    _rooms: tuple["Tensor", "Tensor"] | None = None

    def update(self, key_states: "Tensor", value_states: "Tensor", *_: Any, **__: Any) -> tuple["Tensor", "Tensor"]:
        """Append states (rows, heads, columns, width) and return all there are now."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rooms = self._rooms or (None, None)
        self.keys, key_room = _append(self.keys, rooms[0], key_states)
        self.values, value_room = _append(self.values, rooms[1], value_states)
        self._rooms = (key_room, value_room)
        return self.keys, self.values


def preallocated_cache() -> Cache:
    """Return an empty cache for one call of `generate` and those that go on from it."""
    return Cache(layer_class_to_replicate=PreallocatedLayer)


def use_preallocated_cache(model: Any) -> None:
    """Let `generate` of a model, as it is or wrapped by an adapter, begin with a roomy cache."""
    model = without_wrapper(model)
    generate = model.generate

    def generate_preallocated(*args: Any, **options: Any) -> Any:
        return generate(*args, **{"past_key_values": preallocated_cache(), **options})

    model.generate = generate_preallocated


def _append(held: Any, room: "Tensor | None", new: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Return `held` and `new` one after the other, and the room they lie in; a new one if they do not fit the old."""
    length = held.shape[-2] if held.numel() else 0
    total = length + new.shape[-2]
    in_room = room is not None and held.data_ptr() == room.data_ptr() and len(held) == len(room)
    if room is None or not in_room or room.shape[-2] < total:
        room = new.new_empty((*new.shape[:-2], total + ROOM, new.shape[-1]))
        if length:
            room[..., :length, :] = held
    room[..., length:total, :] = new
    return room[..., :total, :], room
