"""The faster training passes have the values of the original ones."""

from pathlib import Path

import pytest
import torch

from cac.model.loading import load_base
from cac.model.patches.trl_training_passes import drop_redundant_mask, speed_up_training_passes
from cac.params import Params
from cac.training.collator import IGNORE_INDEX


@pytest.fixture
def model(project_params: Params, fresh_base: Path):
    base, _ = load_base(project_params.model.model_copy(update={"base": str(fresh_base)}))
    return base.train()


@pytest.fixture(autouse=True)
def _restore_trl(monkeypatch: pytest.MonkeyPatch) -> None:
    from trl.trainer import grpo_trainer, utils

    monkeypatch.setattr(utils, "_use_triton", utils._use_triton)
    monkeypatch.setattr(grpo_trainer, "shuffle_sequence_dict", grpo_trainer.shuffle_sequence_dict)


def batch(padding_side: str) -> dict[str, torch.Tensor]:
    """Return two rows of 14 and 9 tokens."""
    ids = torch.arange(20, 48).view(2, 14)
    mask = torch.ones_like(ids)
    padding = slice(9, None) if padding_side == "right" else slice(0, 5)
    mask[1, padding] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_mask_is_dropped_only_where_all_padding_is_on_the_right(model, project_params: Params, side: str) -> None:
    inputs = batch(side)
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        expected = model(**inputs).logits
        seen: list[bool] = []
        speed_up_training_passes(model, project_params.adapter)
        layer = model.model.language_model.layers[0].self_attn
        layer.register_forward_pre_hook(lambda _m, _a, o: seen.append(o["attention_mask"] is None), with_kwargs=True)
        found = model(**inputs).logits
    assert seen == [side == "right"]
    torch.testing.assert_close(found[real], expected[real], atol=1e-5, rtol=1e-4)


def test_a_call_with_a_cache_keeps_its_mask() -> None:
    options = {"attention_mask": batch("right")["attention_mask"], "past_key_values": object()}
    assert drop_redundant_mask(None, (), options) == ((), options)


def test_only_labelled_tokens_are_scored_with_unchanged_values(model, project_params: Params) -> None:
    from trl.trainer.utils import add_fused_lm_head

    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    inputs = batch("right")
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, IGNORE_INDEX)
    labels[:, :6] = IGNORE_INDEX
    expected = model(**inputs, labels=labels, fused_lm_head=True)
    speed_up_training_passes(model, project_params.adapter)
    scored = _count_scored(model)
    found = model(**inputs, labels=labels, fused_lm_head=True)
    assert scored == [8 + 3]
    torch.testing.assert_close(found.log_probs, expected.log_probs, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.entropy, expected.entropy, atol=1e-5, rtol=1e-4)
    assert (found.log_probs != 0).sum() == 8 + 3


def _count_scored(model) -> list[int]:
    """Record the number of rows that the output layer scores."""
    from trl.trainer import utils

    counts: list[int] = []
    apply = utils._ChunkedLogProbFunction.apply

    class Counting:
        @staticmethod
        def apply(hidden, *args):
            counts.append(len(hidden))
            return apply(hidden, *args)

    patch = pytest.MonkeyPatch()
    patch.setattr(utils, "_ChunkedLogProbFunction", Counting)
    model.register_forward_hook(lambda *_: patch.undo())
    return counts


def test_rollouts_keep_their_order(model, project_params: Params) -> None:
    from trl.trainer import grpo_trainer

    speed_up_training_passes(model, project_params.adapter)
    rollouts = {"advantages": torch.arange(16.0)}
    assert torch.equal(grpo_trainer.shuffle_sequence_dict(rollouts)["advantages"], torch.arange(16.0))
