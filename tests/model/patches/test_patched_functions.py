"""Every function that `cac.model.patches` replaces is still the one its replacement was written for.

When a case fails, the library has changed: check whether it now does this itself, and remove the module or update it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.library_source import source_digest
from peft.tuners.lora import Linear
from transformers.cache_utils import DynamicLayer
from transformers.models.qwen3_vl import modeling_qwen3_vl as qwen3_vl
from trl.trainer import grpo_trainer, utils

import cac.model.patches

# Patch module, replaced function, digest of its source in transformers 5.23.0, trl 1.16.0 and peft 0.21.2.
REPLACED = [
    ("peft_lora_forward", Linear.forward, "ec0a80f5c5ce"),
    ("peft_lora_forward", Linear.get_delta_weight, "afd956819a7f"),
    ("transformers_kv_cache", DynamicLayer.update, "15d634e7095a"),
    ("transformers_vision_attention", qwen3_vl.Qwen3VLVisionAttention.forward, "2afc2f9fa3eb"),
    ("transformers_vision_cache", qwen3_vl.Qwen3VLVisionModel.forward, "aaadd4d83fb2"),
    ("trl_training_passes", qwen3_vl.Qwen3VLTextModel.forward, "caec4a5b00a7"),
    ("trl_training_passes", utils._use_triton, "f0510984e05a"),
    ("trl_training_passes", utils.add_fused_lm_head, "422d009f04b6"),
    ("trl_training_passes", grpo_trainer.shuffle_sequence_dict, "bab038755e57"),
]


@pytest.mark.parametrize(("patch", "function", "digest"), REPLACED)
def test_the_library_has_not_changed_the_replaced_function(
    patch: str, function: Callable[..., Any], digest: str
) -> None:
    assert source_digest(function) == digest, f"{function.__qualname__} changed: is cac.model.patches.{patch} needed?"


def test_every_patch_names_what_it_replaces() -> None:
    modules = {path.stem for path in Path(cac.model.patches.__path__[0]).glob("[a-z]*.py")}
    assert modules == {patch for patch, _, _ in REPLACED}
