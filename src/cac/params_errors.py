"""What is wrong with a settings file, in words: the key, what is allowed, and the new name of a renamed key."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from cac.paths import MULTI_FRAME_SFT, SINGLE_FRAME_SFT, TWO_TURN_GRPO

_TRAINER = {
    "steps": "max_steps",
    "warmup_share": "warmup_ratio",
    "save_every": "save_steps",
    "log_every": "logging_steps",
}
_SFT = _TRAINER | {
    "gradient_accumulation": "gradient_accumulation_steps",
    "evidence_weight": "dense_token_loss_weight",
    "anomalous_share": "anomalous_ratio",
    "single_frame_share": "single_frame_ratio",
    "wrong_scan_share": "wrong_scan_ratio",
}
# Keys renamed since version 0.1, by section: an old name is an error that gives the new one.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "": {"portions": "train_partition"},
    "procedural_data": {
        "distractor_share": "distractor_ratio",
        "val_share": "val_ratio",
        "test_share": "test_ratio",
    },
    "validation": {"min_clean_share": "min_clean_ratio", "max_clean_share": "max_clean_ratio"},
    "adapter": {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout", "compute": "lora_forward"},
    "train_partition": {"reinforcement_share": "reinforcement_ratio"},
    SINGLE_FRAME_SFT: _SFT,
    MULTI_FRAME_SFT: _SFT,
    TWO_TURN_GRPO: _TRAINER
    | {
        "generations": "num_generations",
        "guided": "constrained_decoding",
        "scan_verdict_share": "scan_verdict_ratio",
        "rejection": "rejection_sampling",
    },
    f"{TWO_TURN_GRPO}.rejection_sampling": _TRAINER | {"epochs": "num_train_epochs"},
    "monitoring": {"place": "source"},
    "registry.gate": {"max_balanced_accuracy_drop": "max_worsening"},
}


def explain(problem: dict[str, Any], settings: type[BaseModel]) -> str:
    """Explain the problem with one key; for an unknown key give its new name or the allowed keys."""
    key = ".".join(map(str, problem["loc"])) or "the file"
    if problem["type"] == "missing":
        return f"{key}: missing; see src/cac/params.py for its meaning and allowed values"
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):  # the message names the keys
        return f"{key}: {problem['ctx']['error']}"
    if problem["type"] != "extra_forbidden":
        return f"{key}: {problem['msg']} (found {problem['input']!r})"
    *outer, name = problem["loc"]
    section: Any = settings
    for part in outer:
        section = section.model_fields[part].annotation
    new_name = RENAMED.get(".".join(outer), {}).get(name)
    if new_name in section.model_fields:
        return f"{key}: renamed; write {new_name}"
    return f"{key}: unknown key; allowed here: {', '.join(section.model_fields)}"
