"""Replaces `Qwen3VLVisionModel.forward` of Transformers 5.23.0: a frozen vision tower encodes equal images once.

Eight rollouts of a clip share all frames of the scan and most of the second look. Each frame is encoded to generate
turn 1, again for turn 2, and again for the loss; here equal images of a call are encoded once. An `ImageEncodingCache`
keeps encodings between calls: for `evaluate`, which judges the same clips with several checkpoints whose towers are
equal, and for training on rollouts over several epochs. On the CPUs tested an image has the same encoding, to the byte,
in any batch (`docs/decisions.md`), so caching changes no result.

Remove it when Transformers caches image features across calls. `test_patched_functions.py` fails when `forward`
changes.
"""

import hashlib
from typing import Any

from cac.model.adapters import without_wrapper


class ImageEncodingCache:
    """Image encodings kept between calls, and between models whose vision towers have equal weights.

    Args:
        max_bytes: the cache is emptied when it holds more.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._tower = b""
        self._encodings: dict[bytes, tuple[Any, ...]] = {}

    def for_tower(self, tower: Any) -> dict[bytes, tuple[Any, ...]]:
        """Return the cached encodings of a tower; empties the cache if it belongs to a tower with other weights."""
        weights = hashlib.sha256()
        for name, value in sorted(tower.state_dict().items()):
            weights.update(name.encode())
            weights.update(_bytes(value))
        if weights.digest() != self._tower:
            self._encodings.clear()
            self._tower = weights.digest()
        return self._encodings

    def clear_if_full(self) -> None:
        """Empty the cache if it exceeds its limit."""
        parts = (part for encoding in self._encodings.values() for part in encoding)
        if sum(part.nbytes for part in parts) > self.max_bytes:
            self._encodings.clear()


def cache_image_encodings(model: Any, cache: ImageEncodingCache | None = None) -> None:
    """Make a model's vision tower encode equal images once.

    Args:
        model: a Qwen3-VL, wrapped by an adapter or not; its vision tower must be frozen.
        cache: keeps encodings between calls; without it only equal images of the same call are shared.

    Raises:
        ValueError: a weight of the tower requires a gradient, which would be lost.
    """
    tower = without_wrapper(model).model.visual
    if any(parameter.requires_grad for parameter in tower.parameters()):
        raise ValueError("the vision tower is being trained; its images must be encoded each time")
    encode = tower.forward
    stored = None if cache is None else cache.for_tower(tower)

    def encode_once(hidden_states: Any, grid_thw: Any, **options: Any) -> Any:
        from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

        known = {} if stored is None else stored
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
        if cache is not None:
            cache.clear_if_full()
        return BaseModelOutputWithDeepstackFeatures(
            last_hidden_state=_cat(hidden),
            pooler_output=_cat(pooled),
            deepstack_features=[_cat(layer) for layer in deep],
        )

    tower.forward = encode_once


def _split(output: Any, patches: Any, merged: int) -> list[tuple[Any, ...]]:
    """Split a tower's output by image: patches, tokens, and tokens of each deepstack layer."""
    tokens = (patches // merged).tolist()
    layers = (output.pooler_output, *output.deepstack_features)
    parts = [output.last_hidden_state.split(patches.tolist()), *(layer.split(tokens) for layer in layers)]
    return list(zip(*parts, strict=True))


def _key(image: Any, grid: list[int]) -> bytes:
    digest = hashlib.blake2b(repr(grid).encode())  # twice as fast as SHA-256 in software
    digest.update(_bytes(image))
    return digest.digest()


def _bytes(tensor: Any) -> memoryview:
    import torch

    result: memoryview[int] = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    return result


def _rows(parts: Any, chosen: list[int]) -> Any:
    return _cat([parts[index] for index in chosen])


def _cat(parts: Any) -> Any:
    import torch

    return torch.cat(list(parts))
