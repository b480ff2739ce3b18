"""A vision tower at rest need not see an image twice: in a batch of rollouts most images are there many times.

Eight rollouts of one clip share all frames of the scan and most of the second look, and each of them is encoded when
turn 1 is generated, again for turn 2, and again for the loss. Only what one call holds is compared; nothing is kept
from call to call, so a result depends on its own batch alone and an interrupted training goes on the same.
"""

from typing import Any

from cac.model.adapters import without_wrapper


def encode_images_once(model: Any) -> None:
    """Let a model's vision tower encode equal images of a call once; its weights must not be trained.

    Args:
        model: a Qwen3-VL, as it is or wrapped by an adapter.

    Raises:
        ValueError: a weight of the tower asks for a gradient, which would then be lost.
    """
    tower = without_wrapper(model).model.visual
    if any(parameter.requires_grad for parameter in tower.parameters()):
        raise ValueError("the vision tower is being trained; its images must be encoded each time")
    encode = tower.forward

    def encode_once(hidden_states: Any, grid_thw: Any, **options: Any) -> Any:
        images = hidden_states.split(grid_thw.prod(dim=1).tolist())
        first, place = _distinct(images, grid_thw)
        output = encode(_rows(images, first), grid_thw=grid_thw[first], **options)
        sizes = grid_thw[first].prod(dim=1)
        tokens = (sizes // tower.spatial_merge_unit).tolist()
        output.last_hidden_state = _rows(output.last_hidden_state.split(sizes.tolist()), place)
        output.pooler_output = _rows(output.pooler_output.split(tokens), place)
        output.deepstack_features = [_rows(layer.split(tokens), place) for layer in output.deepstack_features]
        return output

    tower.forward = encode_once


def _distinct(images: Any, grids: Any) -> tuple[list[int], list[int]]:
    """Return where each distinct image stands first, and for each image which of these it equals."""
    import torch

    number: dict[tuple, int] = {}
    first: list[int] = []
    place: list[int] = []
    for index, (image, grid) in enumerate(zip(images, grids.tolist(), strict=True)):
        key = (*grid, image.cpu().view(torch.uint8).numpy().tobytes())
        if key not in number:
            number[key] = len(first)
            first.append(index)
        place.append(number[key])
    return first, place


def _rows(parts: Any, chosen: list[int]) -> Any:
    import torch

    return torch.cat([parts[index] for index in chosen])
