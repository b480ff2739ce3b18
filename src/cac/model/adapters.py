"""LoRA adapters with PEFT: creating, loading, freezing and saving them, with reproducible bytes.

An adapter records the base it was trained on; loading it onto another base is an error.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.params import Adapter

CONFIG_FILE = "adapter_config.json"
# A generated vision token would claim image features that do not exist, and crash Qwen3-VL's position ids.
FORBIDDEN_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")


def new_adapter(model: Any, settings: Adapter) -> Any:
    """Wrap a base model with a new, trainable adapter: a `PeftModel` whose outputs at first equal those of the base."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=settings.target_modules,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise CacError(
            f"adapter.target_modules {settings.target_modules!r} matches no module of the base: {error}"
        ) from error


def load_adapter(model: Any, folder: Path, base: str, *, trainable: bool) -> Any:
    """Load a saved adapter onto its base.

    A trainable adapter stays separate from the base's weights (a `PeftModel`). An adapter for inference is merged into
    them, which saves two fifths of the nano's inference time.

    Args:
        model: the base model.
        folder: the adapter.
        base: the identity of the base model, as `loading.base_identity` returns it.
        trainable: whether to keep the adapter separate and trainable.

    Raises:
        CacError: there is no adapter, it was trained on another base, or its weights do not fit.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    require_adapter(folder)
    trained_on = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")).get("base_model_name_or_path")
    if trained_on != base:
        raise CacError(f"the adapter at {folder} was trained on base {trained_on!r}, but the base here is {base!r}.")
    try:
        with warnings.catch_warnings():  # PEFT 0.21 uses a name that Transformers 5.23 deprecates
            warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
            adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    except (RuntimeError, ValueError, SafetensorError) as error:
        raise CacError(f"the adapter at {folder} does not fit the base {base!r}: {error}") from error
    if not trainable:
        return adapted.merge_and_unload()
    # When it saves, PEFT looks this name up, on the Hub too; this is the folder of the base.
    adapted.peft_config["default"].base_model_name_or_path = model.name_or_path
    return adapted


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


def require_adapter(folder: Path) -> None:
    """Check that a folder has an adapter.

    Raises:
        CacError: it has none.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise CacError(f"no adapter at {folder} (no {CONFIG_FILE}). Run the stage that trains it: `dvc repro`.")


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
