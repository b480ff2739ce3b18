"""What an adapter's folder must hold, checked before its weights are used.

PEFT only warns about weights that it does not find or does not know, and then judges with what is left, in the worst
case with the bare base. Here every such difference is an error that names it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.params import Adapter

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_NAMED = 3  # weights that a message names
# What PEFT writes about the machine, its own version and the base, none of which changes what an adapter computes.
_PROVENANCE = {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision"}


def require_adapter(folder: Path) -> None:
    """Check that a folder has an adapter.

    Raises:
        CacError: it has no config, or no safetensors.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise CacError(f"no adapter at {folder} (no {CONFIG_FILE}). Run the stage that trains it: `dvc repro`.")
    if not (folder / WEIGHTS_FILE).is_file():
        raise CacError(f"the adapter at {folder} has no {WEIGHTS_FILE}; weights in another format are not read.")


def read_config(folder: Path) -> dict[str, Any]:
    """Return an adapter's config.

    Raises:
        CacError: the folder has no adapter, or the config is not a JSON object.
    """
    require_adapter(folder)
    file = folder / CONFIG_FILE
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CacError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise CacError(f"{file} holds no JSON object.")
    return config


def lora_config(settings: Adapter) -> Any:
    """Return the PEFT config of a new adapter."""
    from peft import LoraConfig

    return LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=settings.target_modules,
        task_type="CAUSAL_LM",
    )


def require_settings(folder: Path, config: Mapping[str, Any], settings: Adapter | None) -> None:
    """Check that an adapter was made with these settings and with no feature of PEFT that this project does not use.

    Args:
        folder: the adapter, for the message.
        config: its content of `adapter_config.json`.
        settings: of params.yaml; None for a package, whose adapter keeps the settings it was trained with.

    Raises:
        CacError: a value differs; the message names it.
    """
    expected = lora_config(settings or _own_settings(folder, config)).to_dict()
    unknown = sorted(set(config) - set(expected) - _PROVENANCE)
    if unknown:
        raise CacError(f"{folder / CONFIG_FILE} has settings that this version of PEFT does not know: {unknown}.")
    for key in sorted(set(expected) - _PROVENANCE):
        found = _comparable(config.get(key, expected[key]))
        if found != _comparable(expected[key]):
            source = "params.yaml" if settings else "this project"
            raise CacError(
                f"the adapter at {folder} has {key} {config[key]!r}, but {source} has {expected[key]!r}. Train the "
                "adapter again with these settings, or set them back."
            )


def _own_settings(folder: Path, config: Mapping[str, Any]) -> Adapter:
    names = ("r", "lora_alpha", "lora_dropout", "target_modules")
    missing = [name for name in names if name not in config]
    if missing:
        raise CacError(f"{folder / CONFIG_FILE} lacks {', '.join(missing)}.")
    return Adapter.model_construct(**{name: config[name] for name in names})


def _comparable(value: Any) -> Any:
    """Return a value of a config as JSON holds it; lists of names have no order."""
    if isinstance(value, set | list | tuple):
        return sorted(map(str, value))
    return getattr(value, "value", value)  # of an enum


def require_finite(folder: Path, stored: Mapping[str, Any]) -> None:
    """Check that an adapter's weights are finite floating-point numbers.

    Args:
        folder: the adapter, for the message.
        stored: its weights, as `read_weights` returns them.

    Raises:
        CacError: they are not.
    """
    integers = [name for name, weight in stored.items() if not weight.is_floating_point()]
    if integers:
        raise CacError(f"the adapter at {folder} has weights that are no floating-point numbers: {_some(integers)}.")
    broken = [name for name, weight in stored.items() if not weight.isfinite().all()]
    if broken:
        raise CacError(f"the adapter at {folder} has NaN or infinite values in {_some(broken)}.")


def require_learned(folder: Path, stored: Mapping[str, Any]) -> None:
    """Check that an adapter is more than the bare base.

    Raises:
        CacError: the adapter was never trained.
    """
    # A module that never trained keeps its B at zero, but A is drawn at random.
    dead = [name for name, weight in stored.items() if "lora_A" in name and not weight.any()]
    if dead:
        raise CacError(f"the adapter at {folder} has only zeros in {_some(dead)}.")
    if not any(weight.any() for name, weight in stored.items() if "lora_B" in name):
        raise CacError(f"the adapter at {folder} has only zeros in every lora_B: it was never trained.")


def require_fitting(model: Any, folder: Path, stored: Mapping[str, Any]) -> None:
    """Check that an adapter's file has exactly the weights of a `PeftModel`'s adapter, whatever their values.

    Raises:
        CacError: weights are missing, unexpected or of another shape.
    """
    held = _held_weights(model)
    faults = []
    if missing := sorted(held.keys() - stored.keys()):
        faults.append(f"{len(missing)} of {len(held)} weights are missing: {_some(missing)}")
    if unexpected := sorted(stored.keys() - held.keys()):
        faults.append(f"{len(unexpected)} weights belong to no module of the base: {_some(unexpected)}")
    for name in sorted(held.keys() & stored.keys()):
        if held[name].shape != stored[name].shape:
            faults.append(f"{name} has shape {list(stored[name].shape)} instead of {list(held[name].shape)}")
    if faults:
        raise CacError(f"the adapter at {folder} does not fit the base. {'; '.join(faults[:_NAMED])}.")


def require_loaded(model: Any, folder: Path, stored: Mapping[str, Any]) -> None:
    """Check that a `PeftModel` holds the values of an adapter's file.

    Raises:
        CacError: it does not; PEFT has then changed how it reads weights.
    """
    held = _held_weights(model)
    changed = [name for name in stored if not held[name].cpu().equal(stored[name].to(held[name].dtype))]
    if changed:
        raise CacError(f"the adapter at {folder} was not loaded whole: {_some(changed)} differ from the file.")


def _held_weights(model: Any) -> dict[str, Any]:
    from peft import get_peft_model_state_dict

    weights: dict[str, Any] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return weights


def read_weights(folder: Path) -> dict[str, Any]:
    """Read an adapter's weights by name.

    Raises:
        CacError: the file is missing, truncated or no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / WEIGHTS_FILE
    try:
        weights: dict[str, Any] = load_file(file)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise CacError(f"{file} cannot be read: {error}") from error
    if not weights:
        raise CacError(f"{file} holds no weights.")
    return weights


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
