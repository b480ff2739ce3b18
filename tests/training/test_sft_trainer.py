"""The loss of the supervised trainer: the decision words and the image tokens add to it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cac.model.loading import load_base
from cac.params import Params
from cac.schema.dialogue import Finding, Look, look_prompt, look_reply
from cac.schema.taxonomy import family_of
from cac.training.collator import IGNORE_INDEX, Dialogue, collate, training_template
from cac.training.dense_token_loss import LABEL_WORDS, dense_token_loss
from cac.training.sft_trainer import DECISION_WORDS, DialogueSFTTrainer, first_token_ids


@pytest.fixture(scope="module")
def trainer(tmp_path_factory, project_params: Params, fresh_base: Path) -> DialogueSFTTrainer:
    from datasets import Dataset
    from trl import SFTConfig

    model, processor = load_base(project_params.model.model_copy(update={"base": str(fresh_base)}))
    config = SFTConfig(
        output_dir=str(tmp_path_factory.mktemp("trainer")),
        report_to=[],
        use_cpu=True,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
    )
    rows = Dataset.from_dict({"sample": [0]})
    return DialogueSFTTrainer(
        model=model, args=config, train_dataset=rows, data_collator=lambda rows: rows, processing_class=processor
    )


@pytest.fixture(scope="module")
def batch(trainer: DialogueSFTTrainer) -> dict:
    from PIL import Image

    frames = [Image.fromarray(np.full((32, 32, 3), 80 * i, dtype=np.uint8)) for i in range(2)]
    found = (Finding(0.0), Finding(0.5, (0.1, 0.2, 0.3, 0.4)))
    looks = [Look(found, family_of("teleport"), "teleport", "anomalous"), Look((Finding(0.0),), None, None, "clean")]
    dialogues = [Dialogue([*look_prompt(frames, [0.0, 0.5]), look_reply(look)], has_tool=False) for look in looks]
    processor = trainer.processing_class
    return collate(processor, training_template(processor), dialogues)


def loss(trainer: DialogueSFTTrainer, batch: dict, weight: float, **kwargs) -> float:
    trainer.decision_weight = weight
    trainer.decision_ids = first_token_ids(trainer.processing_class.tokenizer, DECISION_WORDS)
    with torch.no_grad():
        return float(trainer.compute_loss(trainer.model, dict(batch), **kwargs))


def test_the_decision_words_add_their_mean_loss(trainer: DialogueSFTTrainer, batch: dict) -> None:
    labels = batch["labels"][:, 1:]
    with torch.no_grad():
        logits = trainer.model(**{k: v for k, v in batch.items() if k != "labels"}).logits[:, :-1]
    tokenizer = trainer.processing_class.tokenizer
    words = [[tokenizer.decode([int(i)]).strip() if i != IGNORE_INDEX else "" for i in row] for row in labels]
    decisive = torch.tensor([[word in ("none", "seen", "teleport", "odd", "clear") for word in row] for row in words])
    assert decisive.sum() == 5  # none, seen; attribution teleport; none; attribution none
    expected = torch.nn.functional.cross_entropy(logits[decisive], labels[decisive]).item()
    added = loss(trainer, batch, 2.0) - loss(trainer, batch, 0.0)
    assert added == pytest.approx(2 * expected, rel=1e-4)


def test_a_batch_without_a_decision_adds_nothing(trainer: DialogueSFTTrainer, batch: dict) -> None:
    ids = torch.tensor(first_token_ids(trainer.processing_class.tokenizer, DECISION_WORDS))
    bare = {**batch, "labels": batch["labels"].masked_fill(torch.isin(batch["labels"], ids), IGNORE_INDEX)}
    assert loss(trainer, bare, 2.0) == pytest.approx(loss(trainer, bare, 0.0))


def test_accumulated_batches_share_the_weight(trainer: DialogueSFTTrainer, batch: dict) -> None:
    trainer.current_gradient_accumulation_steps = 4
    count = torch.tensor(100)
    added = loss(trainer, batch, 2.0, num_items_in_batch=count) - loss(trainer, batch, 0.0, num_items_in_batch=count)
    alone = loss(trainer, batch, 2.0) - loss(trainer, batch, 0.0)
    assert added == pytest.approx(alone / 4, rel=1e-4)


def test_image_tokens_add_the_dense_token_loss(trainer: DialogueSFTTrainer, batch: dict) -> None:
    trainer.image_token_id = trainer.processing_class.image_token_id
    trainer.label_word_ids = first_token_ids(trainer.processing_class.tokenizer, LABEL_WORDS)
    image = batch["input_ids"] == trainer.image_token_id
    labels = torch.zeros(int(image.sum()), dtype=torch.long)
    labels[::3] = LABEL_WORDS.index("teleport")
    inputs = {**batch, "dense_labels": labels}
    plain = loss(trainer, inputs, 0.0)
    trainer.dense_token_loss_weight = 2.0
    try:
        with torch.no_grad():
            states = trainer.model.model(**{k: v for k, v in batch.items() if k != "labels"}, output_hidden_states=True)
            expected = dense_token_loss(trainer.model, states.hidden_states[-2][image], labels, trainer.label_word_ids)
        assert loss(trainer, inputs, 0.0) - plain == pytest.approx(2 * float(expected), rel=1e-4)
        assert loss(trainer, batch, 0.0) == pytest.approx(plain)
    finally:
        trainer.dense_token_loss_weight = 0.0
