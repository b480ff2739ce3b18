"""Replaces two functions of TRL 1.16.0 and drops a redundant mask of Transformers 5.23.0: faster passes, equal values.

- `trl.trainer.utils._use_triton`: TRL scores only the labelled tokens on GPUs with Triton; here on every device.
- `trl.trainer.grpo_trainer.shuffle_sequence_dict`: TRL shuffles the rollouts of a step; here rollouts of one clip stay
  in one pass, whose equal images are encoded once.
- The language model's `attention_mask`: dropped where all padding is on the right, which causal attention never sees.

`docs/experiments/` shows the effect of each. Remove a replacement when TRL has the option; `test_patched_functions.py`
fails when one of these functions changes. Imports TRL, so import it inside functions only.
"""

from typing import Any

from cac.model.adapters import without_wrapper
from cac.model.patches.peft_lora_forward import merge_lora_in_forward
from cac.params import Adapter


def speed_up_training_passes(model: Any, settings: Adapter) -> None:
    """Patch TRL, and a model before its trainer is built.

    Args:
        model: the model, wrapped by an adapter or not.
        settings: `lora_forward` says whether the adapter is merged in each pass.
    """
    _score_labelled_tokens_only()
    _keep_rollout_order()
    without_wrapper(model).model.language_model.register_forward_pre_hook(drop_redundant_mask, with_kwargs=True)
    if settings.lora_forward == "merged":
        merge_lora_in_forward(model)


def _score_labelled_tokens_only() -> None:
    """Make TRL's fused output layer score only labelled positions: a tenth of a two-turn dialogue.

    TRL does so with Triton only, because changing shapes may cause recompilation elsewhere; nothing is compiled here.
    """
    from trl.trainer import utils

    utils._use_triton = lambda device: True  # in this module it decides nothing else; the kernels import their own


def _keep_rollout_order() -> None:
    """Stop TRL from shuffling the rollouts of a step: one optimiser step uses all of them in any order."""
    from trl.trainer import grpo_trainer

    grpo_trainer.shuffle_sequence_dict = lambda seq_dict: seq_dict


def drop_redundant_mask(
    module: Any, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Remove the attention mask from a language model's arguments if all padding is on the right.

    A forward pre-hook. Calls with a key/value cache keep their mask.
    """
    mask = options.get("attention_mask")
    if mask is None or mask.dim() != 2 or options.get("past_key_values") is not None:
        return args, options
    if (mask[:, 1:] > mask[:, :-1]).any():  # a token follows padding
        return args, options
    return args, {**options, "attention_mask": None}
