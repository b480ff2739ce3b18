"""Adapters that change what their base computes, as trained ones do, made without training."""

from pathlib import Path
from typing import Any

from cac.model.adapters import new_adapter, save_adapter
from cac.params import Adapter


def changed_adapter(model: Any, settings: Adapter, value: float = 0.01) -> Any:
    """Return a base with a new adapter whose every B is `value`."""
    import torch

    adapted = new_adapter(model, settings)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.fill_(value)
    return adapted.eval()


def save_changed_adapter(model: Any, settings: Adapter, folder: Path, base: str, value: float = 0.01) -> None:
    """Save such an adapter."""
    save_adapter(changed_adapter(model, settings, value), folder, base)
