"""LoRA adapters through PEFT: making one, handing it on from stage to stage, writing it to the same bytes each time.

An adapter records the base it was trained on; loading it onto another base is an error, not a silent mismatch.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.params import Adapter

CONFIG_FILE = "adapter_config.json"


def new_adapter(model: Any, settings: Adapter) -> Any:
    """Wrap a base model with a fresh, trainable adapter (a `PeftModel` that computes what the base does)."""
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
            f"adapter.target_modules {settings.target_modules!r} fits no module of the base: {error}"
        ) from error


def load_adapter(model: Any, folder: Path, base: str, *, trainable: bool) -> Any:
    """Put a saved adapter onto its base; `base` is the identity of the base at hand.

    A trainable adapter lies beside the base's weights (a `PeftModel`); one that is only used is merged into them, which
    saves two fifths of the nano's time.

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
        with warnings.catch_warnings():  # PEFT 0.21 asks by a name that Transformers 5.23 calls deprecated
            warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
            adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    except (RuntimeError, ValueError, SafetensorError) as error:
        raise CacError(f"the adapter at {folder} does not fit the base {base!r}: {error}") from error
    if not trainable:
        return adapted.merge_and_unload()
    # PEFT looks this name up, on the Hub too, whenever it saves; give it the folder the base came from.
    adapted.peft_config["default"].base_model_name_or_path = model.name_or_path
    return adapted


def without_wrapper(model: Any) -> Any:
    """Return the base model inside a `PeftModel`; a model that is not wrapped comes back as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def freeze_vision(model: Any) -> None:
    """Keep the vision tower's part of an adapter as it is: a third of a step's time goes into its gradients.

    What does not change can be merged into the tower's weights for as long as the model lives, which saves a tenth of a
    step; what `save_adapter` writes stays the same.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in model.named_modules():
        if ".visual." in name and isinstance(module, BaseTunerLayer):
            module.merge()
    for name, parameter in model.named_parameters():
        if ".visual." in name:
            parameter.requires_grad_(False)


def require_adapter(folder: Path) -> None:
    """Check that a folder holds an adapter.

    Raises:
        CacError: it does not.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise CacError(f"no adapter at {folder} (no {CONFIG_FILE}). Run the stage that makes it: `dvc repro`.")


def save_adapter(model: Any, folder: Path, base: str, weights: Mapping[str, Any] | None = None) -> None:
    """Write an adapter as safetensors and a config without machine paths or unordered lists.

    `weights` are the model's, by name, where the model itself holds only a part of them.
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


FORBIDDEN_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")


def forbidden_token_ids(tokenizer: Any) -> list[int]:
    """Return the ids of these tokens."""
    return tokenizer.convert_tokens_to_ids(list(FORBIDDEN_TOKENS))
