"""TRL's `SFTTrainer` over dialogues that are made as each batch is: of annotated clips, or of own rollouts.

Left out: which dialogues, and where they come from.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cac.io import distributed
from cac.params import Params, SftOptimisation
from cac.training import checkpoints
from cac.training.collator import Dialogue, collate, training_template


def make_trainer(
    name: str,
    settings: SftOptimisation,
    params: Params,
    parts: tuple[Any, Any, Path],
    dialogues: Sequence[Callable[[], Dialogue]],
) -> Any:
    """Build the `SFTTrainer` over dialogues, in their order; each is made when its batch is.

    Args:
        name: the stage's, for messages.
        settings: how to train; what it says of drawing samples is not asked for here.
        params: all settings.
        parts: the model, its processor, and the checkpoint folder.
        dialogues: what makes each, of all steps.
    """
    from datasets import Dataset
    from trl import SFTConfig

    from cac.training.collator import WORDS
    from cac.training.sft_trainer import DECISIONS, DialogueSFTTrainer, first_token_ids

    model, processor, folder = parts
    template = training_template(processor)

    def collate_rows(rows: list[dict[str, int]]) -> dict[str, Any]:
        return collate(processor, template, [dialogues[row["sample"]]() for row in rows])

    config = SFTConfig(
        max_steps=settings.max_steps,
        per_device_train_batch_size=distributed.per_process_batch_size(settings.batch_size, f"{name}.batch_size"),
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(settings.warmup_ratio * settings.max_steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        seed=params.compute.seed,
        train_sampling_strategy="sequential",  # the samples are drawn in order, each batch of one kind
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        **checkpoints.trainer_arguments(folder, params.compute, settings.save_steps, settings.logging_steps),
    )
    trainer = DialogueSFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_dict({"sample": list(range(len(dialogues)))}),
        data_collator=collate_rows,
        processing_class=processor,
    )
    trainer.decision_weight, trainer.decisions = (
        settings.decision_weight,
        first_token_ids(processor.tokenizer, DECISIONS),
    )
    trainer.dense_token_loss_weight = settings.dense_token_loss_weight
    trainer.words = first_token_ids(processor.tokenizer, WORDS)
    trainer.image_token = processor.image_token_id
    return trainer
