"""The dense token loss: which image tokens are labelled, and how their loss is weighed."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cac.model.loading import load_base
from cac.params import Params
from cac.schema.dialogue import Look, look_prompt, look_reply
from cac.training.collator import Dialogue, collate, training_template
from cac.training.dense_token_loss import LABEL_WORDS, ImageLabel, dense_token_labels, dense_token_loss
from cac.training.sft_trainer import first_token_ids

CORNER = ("teleport", (0.5, 0.5, 1.0, 1.0))
corner = st.floats(0, 0.9)
length = st.floats(0.01, 0.5)


@pytest.fixture(scope="module")
def parts(project_params: Params, fresh_base: Path):
    return load_base(project_params.model.model_copy(update={"base": str(fresh_base)}))


def dialogue(*labels: ImageLabel, size: tuple[int, int] = (64, 32)) -> Dialogue:
    images = [Image.new("RGB", size) for _ in labels]
    answer = look_reply(Look((), None, None, "clean"))
    return Dialogue([*look_prompt(images, list(range(len(images)))), answer], has_tool=False, image_labels=labels)


def test_the_tokens_under_the_box_are_labelled_image_by_image(parts) -> None:
    _, processor = parts
    batch = collate(processor, training_template(processor), [dialogue(None, CORNER), dialogue(CORNER)])
    assert len(batch["dense_labels"]) == (batch["input_ids"] == processor.image_token_id).sum()
    clear, shown, other = batch["dense_labels"].view(3, 2, 4)  # 64 by 32 pixels are two rows of four tokens
    word = LABEL_WORDS.index("teleport")
    assert clear.tolist() == [[0] * 4] * 2
    assert shown.tolist() == other.tolist() == [[0] * 4, [0, 0, word, word]]


def test_without_image_labels_there_are_no_dense_labels(parts) -> None:
    _, processor = parts
    plain = dialogue(CORNER)
    batch = collate(processor, training_template(processor), [plain, Dialogue(plain.messages, has_tool=False)])
    assert "dense_labels" not in batch


@given(corner, corner, length, length)
def test_even_the_smallest_box_labels_a_token_that_it_touches(parts, x, y, width, height) -> None:
    _, processor = parts
    box = (x, y, min(x + width, 1.0), min(y + height, 1.0))
    grid = dense_token_labels(processor, [("teleport", box)], torch.tensor([[1, 12, 12]])).view(6, 6)
    rows, columns = torch.nonzero(grid, as_tuple=True)
    assert len(rows) > 0
    assert bool(((columns + 1) / 6 > box[0]).all() and (columns / 6 < box[2]).all())
    assert bool(((rows + 1) / 6 > box[1]).all() and (rows / 6 < box[3]).all())


def test_anomalous_and_clear_tokens_weigh_one_half_each(parts) -> None:
    model, processor = parts
    ids = first_token_ids(processor.tokenizer, LABEL_WORDS)
    states = torch.randn(10, model.config.text_config.hidden_size, generator=torch.Generator().manual_seed(0))
    word = LABEL_WORDS.index("teleport")
    labels = torch.tensor([0] * 9 + [word])

    def loss(chosen: list[int]) -> float:
        return dense_token_loss(model, states[chosen], labels[chosen], ids).item()

    assert loss(list(range(10))) == pytest.approx((loss(list(range(9))) + loss([9])) / 2, rel=1e-5)
    assert loss([9]) != pytest.approx(loss([0]))
