"""Replaces `peft.tuners.lora.Linear.forward` (PEFT 0.21.2): merges W + BA once a pass and multiplies by the sum.

PEFT computes xWᵀ and, separately, (xAᵀ)Bᵀ: two more products and two more sums over every token, forwards and
backwards. Where a batch has many more tokens than a layer is wide, summing two small matrices costs almost nothing; a
training step of the nano is a seventh shorter. The gradient of the whole weight is in memory for a moment, so wide
models use `adapter.lora_forward: separate`. What is trained and saved is PEFT's adapter either way.

Remove it when PEFT has an option to train with the sum. `test_patched_functions.py` fails when PEFT changes `forward`.
"""

from functools import partial
from typing import Any


def merge_lora_in_forward(model: Any) -> None:
    """Make every linear LoRA layer add its adapter to its weight; values differ from PEFT's in their last bits only.

    Args:
        model: a `PeftModel` whose adapter has no dropout.
    """
    from peft.tuners.lora import Linear

    layers: list[Any] = [module for module in model.modules() if isinstance(module, Linear)]
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.forward)


def _forward(layer: Any, original: Any, x: Any, *args: Any, **options: Any) -> Any:
    from torch.nn.functional import linear

    if layer.merged or layer.disable_adapters:
        return original(x, *args, **options)
    weight = layer.base_layer.weight
    for adapter in layer.active_adapters:
        weight = weight + layer.get_delta_weight(adapter)
    return linear(x, weight, layer.base_layer.bias)
