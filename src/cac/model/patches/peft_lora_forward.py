"""LoRA computed as one matrix a layer: W + BA is added up once a pass, then used like any weight.

PEFT computes xWᵀ and, beside it, (xAᵀ)Bᵀ: two more products and two more sums over every token, forwards and backwards.
Where a batch has many more tokens than a layer is wide, the sum of two small matrices costs next to nothing and the
rest is a plain layer: a training step of the nano is a seventh shorter. The gradient of the whole weight is held for a
moment, so wide models leave this off (`adapter.lora_forward`). What is learned and saved is PEFT's adapter all the same.
"""

from functools import partial
from typing import Any


def merge_lora_in_forward(model: Any) -> None:
    """Let every linear LoRA layer of a model add its adapter to its weight; values differ in their last bits only.

    Args:
        model: a `PeftModel` whose adapter has no dropout.
    """
    from peft.tuners.lora import Linear

    layers: list[Any] = [module for module in model.modules() if isinstance(module, Linear)]
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.forward)


def _forward(layer: Any, beside: Any, x: Any, *args: Any, **options: Any) -> Any:
    from torch.nn.functional import linear

    if layer.merged or layer.disable_adapters:
        return beside(x, *args, **options)
    weight = layer.base_layer.weight
    for adapter in layer.active_adapters:
        weight = weight + layer.get_delta_weight(adapter)
    return linear(x, weight, layer.base_layer.bias)
