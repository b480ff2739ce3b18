"""Replaces `Qwen3VLVisionAttention.forward` of Transformers 5.23.0: images of one size attend in one batched call.

Transformers loops over the images of a batch. Attention stays within each image either way, so the values are equal. A
two-turn dialogue has fourteen images of two sizes, a batch of eight has a hundred: the loop is a tenth of a forward
pass of the nano's vision tower, and most of it on a GPU. Only SDPA attention is replaced; Flash Attention takes images
of all sizes in one call.

Remove it when Transformers batches SDPA over images. `test_patched_functions.py` fails when `forward` changes.
"""

from collections.abc import Sequence
from types import MethodType
from typing import Any


def batch_vision_attention(model: Any) -> None:
    """Make the vision tower of a Qwen3-VL attend to all images of one size at once; other models stay unchanged."""
    if model.config.model_type != "qwen3_vl" or model.model.visual.config._attn_implementation != "sdpa":
        return
    for layer in model.model.visual.blocks:
        layer.attn.forward = MethodType(_attention, layer.attn)


def _attention(self: Any, hidden_states: Any, cu_seqlens: Any, position_embeddings: Any, **_: Any) -> Any:
    """Replace `Qwen3VLVisionAttention.forward`: (patches, width) to (patches, width)."""
    import torch
    from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision

    heads = self.qkv(hidden_states).view(len(hidden_states), 3, self.num_heads, self.head_dim)
    query, key, value = heads.unbind(1)
    query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
    rows_by_length = _rows_by_length(cu_seqlens)
    attended = [
        _attend(self, [states[rows] for states in (query, key, value)], length)
        for length, rows in rows_by_length.items()
    ]
    if len(attended) == 1:
        return self.proj(attended[0])
    return self.proj(torch.cat(attended)[torch.cat(list(rows_by_length.values())).argsort()])


def _rows_by_length(bounds: Any) -> dict[int, Any]:
    """Return, for each number of patches of an image, the rows of all images with that many patches: (rows,) each."""
    import torch

    starts, lengths = bounds[:-1].long(), bounds.diff()
    inside = {length: torch.arange(length, device=bounds.device) for length in lengths.unique().tolist()}
    return {length: (starts[lengths == length, None] + within).flatten() for length, within in inside.items()}


def _attend(layer: Any, states: Sequence[Any], length: int) -> Any:
    """Attend within each run of `length` rows: query, key, value (patches, heads, head width) to (patches, width)."""
    from torch.nn.functional import scaled_dot_product_attention

    query, key, value = (part.unflatten(0, (-1, length)).transpose(1, 2) for part in states)
    attended = scaled_dot_product_attention(query, key, value, scale=layer.scaling)
    return attended.transpose(1, 2).flatten(0, 1).flatten(1)
