"""How the base is pretrained: the same values as the model's own pass, batches that do not depend on who makes them."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen3VLForConditionalGeneration

from cac.training.collator import collate
from scripts import pretrain_nano
from scripts.pretrain_batches import Schedule, StepBatches, draw_samples, load
from scripts.sorted_vision import from_bytes, sort_by_size, to_bytes

pytestmark = pytest.mark.slow

TASK_OF_STEP = Schedule(vision=1, single=1, compare=1, mix=1)


def tensors_of(batch) -> dict[str, torch.Tensor]:
    dense = {} if batch.labels is None else vars(batch.labels)
    return {**batch.tensors, **dense}


def test_bytes_keep_every_pixel() -> None:
    levels = (torch.arange(256, dtype=torch.float32) / 255 - 0.5) / 0.5  # as the image processor makes them
    patches = levels.repeat(3).view(1, 3, 256)[:, :, :64]
    torch.testing.assert_close(from_bytes(to_bytes(patches)).view(1, 3, 2, 64)[:, :, 1], patches, atol=1e-6, rtol=0)
    assert (to_bytes(levels) == torch.arange(256)).all()


@pytest.mark.parametrize("task", ["single", "two_turn"])
def test_sorted_images_and_ready_positions_give_the_models_own_states(task: str, fresh_base: Path) -> None:
    batches = StepBatches(TASK_OF_STEP, seed=1, scale=1)
    samples = draw_samples(task, 1, 1, np.random.default_rng(0))[:4]
    plain = Qwen3VLForConditionalGeneration.from_pretrained(fresh_base)
    args = SimpleNamespace(seed=1, base=fresh_base, device=torch.device("cpu"), rate_scale=1.0)
    learner = pretrain_nano.make_learner(args, {})
    inputs = collate(batches.processor, batches.template, samples)
    del inputs["labels"]
    batch = batches._dialogues(task, samples)
    with torch.no_grad():
        expected = plain.model(**inputs).last_hidden_state
        found = pretrain_nano.read(learner, batch, batch.tensors["input_ids"]).last_hidden_state
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(found[real], expected[real], atol=1e-3, rtol=0)


def test_images_of_one_size_stand_together() -> None:
    sides = torch.tensor([6, 4, 6])
    patches = torch.cat([torch.full((int(side) ** 2, 384), 0.1 * n) for n, side in enumerate(sides)])
    pixels, tokens, blocks = sort_by_size(patches, sides)
    assert blocks == [(1, 4), (2, 6)]
    image_of_token = from_bytes(pixels)[::4, 0][tokens]
    torch.testing.assert_close(image_of_token, patches[::4, 0], atol=0.01, rtol=0)


def test_a_batch_does_not_depend_on_who_makes_it() -> None:
    schedule = Schedule(vision=0, single=0, compare=0, mix=4)
    here, elsewhere = (list(load(StepBatches(schedule, 3, 1), 0, workers)) for workers in (0, 2))
    for one, other in zip(here, elsewhere, strict=True):
        assert (one.task, one.blocks) == (other.task, other.blocks)
        for name, tensor in tensors_of(one).items():
            assert torch.equal(tensor, tensors_of(other)[name]), name


def test_pretraining_learns_and_goes_on(tmp_path: Path, fresh_base: Path, monkeypatch, capsys) -> None:
    def pretrain(mix_steps: int) -> dict[str, torch.Tensor]:
        phases = [f"--{phase}-steps=1" for phase in ("vision", "single", "compare")]
        places = [f"--base={fresh_base}", f"--out={tmp_path / 'out'}", f"--scratch={tmp_path / 'scratch'}"]
        monkeypatch.setattr(sys, "argv", ["pretrain_nano.py", *phases, f"--mix-steps={mix_steps}", *places])
        pretrain_nano.main()
        return load_file(tmp_path / "out" / "model.safetensors")

    before = load_file(fresh_base / "model.safetensors")
    first = pretrain(1)
    assert all(
        (first[name] != before[name]).any()
        for name in ("model.visual.pos_embed.weight", "model.language_model.norm.weight")
    )
    second = pretrain(2)
    assert "resuming at step 4" in capsys.readouterr().out
    assert any((second[name] != first[name]).any() for name in first)
