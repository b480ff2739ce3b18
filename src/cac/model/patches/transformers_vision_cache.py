"""A vision tower at rest need not see an image twice.

Eight rollouts of one clip share all frames of the scan and most of the second look, and each of them is encoded when
turn 1 is generated, again for turn 2, and again for the loss: equal images of a call are encoded once. An `ImageEncodingCache`
keeps encodings from call to call: in `evaluate`, which judges the same clips with one checkpoint after another, for
those whose towers are equal, and where own rollouts are learned from more than once. On the CPU that was tried an image
is encoded to the same bits in any company (`docs/decisions.md`), so what is remembered changes nothing.
"""

import hashlib
from typing import Any

from cac.model.adapters import without_wrapper


class ImageEncodingCache:
    """Encodings kept from call to call and from model to model, as long as their vision towers have equal weights.

    Args:
        room: bytes to keep; when there is more, all of it is forgotten.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._tower = b""
        self._encodings: dict[bytes, tuple[Any, ...]] = {}

    def of(self, tower: Any) -> dict[bytes, tuple[Any, ...]]:
        """Return what is kept of towers that equal this one."""
        weights = hashlib.sha256()
        for name, value in sorted(tower.state_dict().items()):
            weights.update(name.encode())
            weights.update(_bytes(value))
        if weights.digest() != self._tower:
            self._encodings.clear()
            self._tower = weights.digest()
        return self._encodings

    def forget_if_full(self) -> None:
        """Forget all if it takes more than the room there is."""
        parts = (part for encoding in self._encodings.values() for part in encoding)
        if sum(part.nbytes for part in parts) > self.room:
            self._encodings.clear()


def cache_image_encodings(model: Any, memory: ImageEncodingCache | None = None) -> None:
    """Let a model's vision tower encode equal images once: those of a call, or all that a memory has room for.

    Args:
        model: a Qwen3-VL, as it is or wrapped by an adapter; its tower must not be trained.
        memory: what to keep encodings in; none are kept without.

    Raises:
        ValueError: a weight of the tower asks for a gradient, which would then be lost.
    """
    tower = without_wrapper(model).model.visual
    if any(parameter.requires_grad for parameter in tower.parameters()):
        raise ValueError("the vision tower is being trained; its images must be encoded each time")
    encode = tower.forward
    remembered = None if memory is None else memory.of(tower)

    def encode_once(hidden_states: Any, grid_thw: Any, **options: Any) -> Any:
        from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

        known = {} if remembered is None else remembered
        images = hidden_states.split(grid_thw.prod(dim=1).tolist())
        keys = [_key(image, grid) for image, grid in zip(images, grid_thw.tolist(), strict=True)]
        new: dict[bytes, int] = {}
        for index, key in enumerate(keys):
            if key not in known:
                new.setdefault(key, index)
        if new:
            rows = list(new.values())
            output = encode(_rows(images, rows), grid_thw=grid_thw[rows], **options)
            found = _split(output, grid_thw[rows].prod(dim=1), tower.spatial_merge_unit)
            known.update(zip(new, found, strict=True))
        hidden, pooled, *deep = zip(*(known[key] for key in keys), strict=True)
        if memory is not None:
            memory.forget_if_full()
        return BaseModelOutputWithDeepstackFeatures(
            last_hidden_state=_cat(hidden),
            pooler_output=_cat(pooled),
            deepstack_features=[_cat(layer) for layer in deep],
        )

    tower.forward = encode_once


def _split(output: Any, patches: Any, merged: int) -> list[tuple[Any, ...]]:
    """Return the parts of a tower's output for each image: its patches, its tokens, its tokens at each depth."""
    tokens = (patches // merged).tolist()
    layers = (output.pooler_output, *output.deepstack_features)
    parts = [output.last_hidden_state.split(patches.tolist()), *(layer.split(tokens) for layer in layers)]
    return list(zip(*parts, strict=True))


def _key(image: Any, grid: list[int]) -> bytes:
    digest = hashlib.blake2b(repr(grid).encode())  # in software half as long as SHA-256
    digest.update(_bytes(image))
    return digest.digest()


def _bytes(tensor: Any) -> memoryview:
    import torch

    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _rows(parts: Any, chosen: list[int]) -> Any:
    return _cat([parts[index] for index in chosen])


def _cat(parts: Any) -> Any:
    import torch

    return torch.cat(list(parts))
