"""Images of one size attend in one call: Transformers' vision tower walks over the images of a batch one by one.

Attention stays within each image either way, so values are the tower's own. A two-turn dialogue has fourteen images in
two sizes, a batch of eight a hundred; the walk is a tenth of a forward pass of the nano's tower, and on a GPU most of
it. Left out: Flash Attention, which takes images of all sizes in one call as it is.
"""

from collections.abc import Sequence
from types import MethodType
from typing import Any


def batch_vision_attention(model: Any) -> None:
    """Let the vision tower of a Qwen3-VL attend to all images of one size at once; other models are left alone."""
    if model.config.model_type != "qwen3_vl" or model.model.visual.config._attn_implementation != "sdpa":
        return
    for layer in model.model.visual.blocks:
        layer.attn.forward = MethodType(_attention, layer.attn)


def _attention(self: Any, hidden_states: Any, cu_seqlens: Any, position_embeddings: Any, **_: Any) -> Any:
    """Stand in for `Qwen3VLVisionAttention.forward`: (patches, width) to (patches, width)."""
    import torch
    from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision

    heads = self.qkv(hidden_states).view(len(hidden_states), 3, self.num_heads, self.head_dim)
    query, key, value = heads.unbind(1)
    query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
    blocks = _blocks(cu_seqlens)
    seen = [_attend(self, [states[rows] for states in (query, key, value)], length) for length, rows in blocks.items()]
    if len(seen) == 1:
        return self.proj(seen[0])
    return self.proj(torch.cat(seen)[torch.cat(list(blocks.values())).argsort()])


def _blocks(bounds: Any) -> dict[int, Any]:
    """Return for each number of patches that an image has the rows of all images that have so many: (rows,) each."""
    import torch

    starts, lengths = bounds[:-1].long(), bounds.diff()
    inside = {length: torch.arange(length, device=bounds.device) for length in lengths.unique().tolist()}
    return {length: (starts[lengths == length, None] + within).flatten() for length, within in inside.items()}


def _attend(layer: Any, states: Sequence[Any], length: int) -> Any:
    """Attend within each `length` rows: three times (patches, heads, width of a head) to (patches, width)."""
    from torch.nn.functional import scaled_dot_product_attention

    query, key, value = (part.unflatten(0, (-1, length)).transpose(1, 2) for part in states)
    seen = scaled_dot_product_attention(query, key, value, scale=layer.scaling)
    return seen.transpose(1, 2).flatten(0, 1).flatten(1)
