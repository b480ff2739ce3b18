"""LoRA adapters with PEFT: creating, loading, freezing and saving them, with reproducible bytes.

An adapter records the base it was trained on; loading it onto another base is an error.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.model.adapter_files import (
    CONFIG_FILE,
    lora_config,
    read_config,
    read_weights,
    require_finite,
    require_fitting,
    require_learned,
    require_loaded,
    require_settings,
)
from cac.params import Adapter

# A generated vision token would claim image features that do not exist, and crash Qwen3-VL's position ids.
FORBIDDEN_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")


def new_adapter(model: Any, settings: Adapter) -> Any:
    """Wrap a base model with a new, trainable adapter: a `PeftModel` whose outputs at first equal those of the base."""
    from peft import get_peft_model

    try:
        return get_peft_model(model, lora_config(settings))
    except ValueError as error:
        raise CacError(
            f"adapter.target_modules {settings.target_modules!r} matches no module of the base: {error}"
        ) from error


def load_adapter(model: Any, folder: Path, base: str, settings: Adapter | None, *, trainable: bool) -> Any:
    """Load a saved adapter onto its base, whole or not at all.

    A trainable adapter stays separate from the base's weights (a `PeftModel`). An adapter for inference is merged into
    them, which saves two fifths of the nano's inference time.

    Args:
        model: the base model.
        folder: the adapter.
        base: the identity of the base model, as `loading.base_identity` returns it.
        settings: of params.yaml, which the adapter must have; None for a package, which keeps its own.
        trainable: whether to keep the adapter separate and trainable.

    Raises:
        CacError: there is no adapter, it was trained on another base or with other settings, or its weights do not fit.
    """
    config = read_config(folder)
    trained_on = config.get("base_model_name_or_path")
    if trained_on != base:
        raise CacError(f"the adapter at {folder} was trained on base {trained_on!r}, but the base here is {base!r}.")
    require_settings(folder, config, settings)
    weights = read_weights(folder)
    with warnings.catch_warnings():  # PEFT 0.21 uses a name that Transformers 5.23 deprecates
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
        adapted = _empty_adapter(model, folder, trainable)
        require_fitting(adapted, folder, weights)
        require_finite(folder, weights)
        require_learned(folder, weights)
        adapted.load_adapter(str(folder), "default", is_trainable=trainable)
    require_loaded(adapted, folder, weights)
    return adapted if trainable else adapted.merge_and_unload()


def _empty_adapter(model: Any, folder: Path, trainable: bool) -> Any:
    """Wrap a base with the adapter that a folder's config describes, before its weights are loaded."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = not trainable
    # When it saves, PEFT looks this name up, on the Hub too; this is the folder of the base.
    config.base_model_name_or_path = model.name_or_path
    try:
        return get_peft_model(model, config)
    except ValueError as error:  # its target modules are none of the base's
        raise CacError(f"the adapter at {folder} does not fit the base: {error}") from error


def without_wrapper(model: Any) -> Any:
    """Return the base model inside a `PeftModel`; any other model is returned unchanged."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def freeze_vision(model: Any) -> None:
    """Freeze the vision tower's part of an adapter, whose gradients take a third of a training step.

    The frozen part is also merged into the tower's weights, which saves a tenth of a step. `save_adapter` still writes
    it separately.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in model.named_modules():
        if ".visual." in name and isinstance(module, BaseTunerLayer):
            module.merge()
    for name, parameter in model.named_parameters():
        if ".visual." in name:
            parameter.requires_grad_(False)


def save_adapter(model: Any, folder: Path, base: str, weights: Mapping[str, Any] | None = None) -> None:
    """Write an adapter as safetensors and a config without machine paths or unordered lists.

    Args:
        model: the `PeftModel`.
        folder: where to write.
        base: the identity of the base.
        weights: the full weights by name, if the model holds only a part of them (FSDP).
    """
    model.save_pretrained(str(folder), selected_adapters=["default"], save_embedding_layers=False, state_dict=weights)
    (folder / "README.md").unlink(missing_ok=True)
    config_file = folder / CONFIG_FILE
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    config = {key: sorted(value) if _is_names(value) else value for key, value in config.items()}
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def forbidden_token_ids(tokenizer: Any) -> list[int]:
    """Return the ids of `FORBIDDEN_TOKENS`."""
    ids: list[int] = tokenizer.convert_tokens_to_ids(list(FORBIDDEN_TOKENS))
    return ids
