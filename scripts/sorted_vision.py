"""Batched encoding of many small images, sorted by size, without loops over images.

Transformers computes the positions of patches in a loop over the images of a batch. On a GPU such loops take most of a
step of so small a model. The values are equal; `cac.model.patches` batches the attention.
"""

from typing import Any

import torch
from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids

from cac.model.nano import MERGE_SIZE, PATCH_SIZE

TOKEN_PATCHES = MERGE_SIZE**2
FRAMES = 2  # a patch holds each image twice, because Qwen3-VL takes frames in pairs

Blocks = list[tuple[int, int]]  # for each size, smallest first: number of images, patches per side


def sort_by_size(pixels: torch.Tensor, sides: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Blocks]:
    """Sort the images of a batch by size.

    Args:
        pixels: the image processor's patches, image after image: (patches, values).
        sides: patches along a side of each image: (images,).

    Returns:
        The patches as bytes, without their second copy; the new position of each token; the blocks.
    """
    order = sides.argsort(stable=True)
    starts = (sides**2).cumsum(0) - sides**2
    patches = torch.cat(
        [torch.arange(side**2) + start for side, start in zip(sides[order], starts[order], strict=True)]
    )
    tokens = (patches[::TOKEN_PATCHES] // TOKEN_PATCHES).argsort()
    once = pixels[patches].view(len(patches), 3, FRAMES, PATCH_SIZE**2)[:, :, 0]
    sizes, counts = sides.unique(return_counts=True)
    return to_bytes(once), tokens, list(zip(counts.tolist(), sizes.tolist(), strict=True))


def to_bytes(pixels: torch.Tensor) -> torch.Tensor:
    """Return pixels in -1 to 1 as bytes; `from_bytes` is the inverse."""
    return ((pixels + 1) * 127.5).round().to(torch.uint8)


def from_bytes(pixels: torch.Tensor) -> torch.Tensor:
    """Return the image processor's patches from bytes (patches, 3, values), with their second copy."""
    once = pixels.to(torch.float32) / 127.5 - 1
    return once[:, :, None].expand(-1, -1, FRAMES, -1).reshape(len(once), -1)


def encode(visual: Any, pixels: torch.Tensor, blocks: Blocks) -> Any:
    """Return the tower's output for sorted images.

    Args:
        visual: the tower; `batch_vision_attention` should have been called on its model.
        pixels: sorted patches: (patches, values).
        blocks: as `sort_by_size` returns them.
    """
    grids = [(torch.tensor([[1, side, side]], device=pixels.device), count) for count, side in blocks]
    places = [get_vision_position_ids(grid, MERGE_SIZE).repeat(count, 1) for grid, count in grids]
    indices, weights = zip(*(_interpolation(visual, grid, count) for grid, count in grids), strict=True)
    return visual(
        pixels,
        grid_thw=torch.cat([grid.expand(count, -1) for grid, count in grids]),
        position_ids=torch.cat(places),
        interp_indices=torch.cat(indices),
        interp_weights=torch.cat(weights),
    )


def _interpolation(visual: Any, grid: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    indices, weights = get_vision_interpolation_indices_and_weights(
        grid,
        num_grid_per_side=visual.num_grid_per_side,
        mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=MERGE_SIZE,
    )
    return indices.repeat(count, 1), weights.repeat(count, 1)
