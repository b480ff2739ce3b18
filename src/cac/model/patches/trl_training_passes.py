"""What TRL, PEFT and Transformers do for GPUs alone or leave undone, and a pass gains by: same values, less work.

Only the tokens that are learned from are scored; a batch without padding on the left needs no attention mask; rollouts
of one clip stay in one pass, whose equal images are encoded once; adapters of narrow models are added to their weights.
docs/experiments/2026-11-28-faster-training-steps.md has what each is worth. Imports TRL,
so import it inside functions only.
"""

from typing import Any

from cac.model.adapters import without_wrapper
from cac.model.patches.peft_lora_forward import merge_lora_in_forward
from cac.params import Adapter


def speed_up_training_passes(model: Any, settings: Adapter) -> None:
    """Arrange a model that a trainer is about to be made for, and TRL itself, for passes without needless work."""
    _score_labelled_tokens_only()
    _keep_rollout_order()
    without_wrapper(model).model.language_model.register_forward_pre_hook(drop_redundant_mask, with_kwargs=True)
    if settings.lora_forward == "merged":
        merge_lora_in_forward(model)


def _score_labelled_tokens_only() -> None:
    """Let TRL's fused output layer score only the positions that have a label: a tenth of a two-turn dialogue.

    TRL 1.16 does so where there is Triton, because elsewhere changing shapes might mean compiling anew; nothing is
    compiled here.
    """
    from trl.trainer import utils

    utils._use_triton = lambda device: True  # asked there for this choice alone; the kernels have a name of their own


def _keep_rollout_order() -> None:
    """Let TRL share out a step's rollouts in their order, not shuffled: all of them are learned from in one step."""
    from trl.trainer import grpo_trainer

    grpo_trainer.shuffle_sequence_dict = lambda seq_dict: seq_dict


def drop_redundant_mask(module: Any, args: tuple, options: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Take the mask out of a language model's arguments if all padding is on the right, where causality hides it.

    A forward pre-hook. Calls with a cache are left alone.
    """
    mask = options.get("attention_mask")
    if mask is None or mask.dim() != 2 or options.get("past_key_values") is not None:
        return args, options
    if (mask[:, 1:] > mask[:, :-1]).any():  # something follows padding
        return args, options
    return args, {**options, "attention_mask": None}
