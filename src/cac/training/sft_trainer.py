"""TRL's SFT trainer with two additions: a loss on the decision words, and the dense token loss.

An answer of fifty tokens has six to eight that decide something: whether a frame is odd, and whether it shows an
anomaly. The others are timestamps, line ends and what follows from the decisions, and coordinates dominate the rest of
the loss. `build_trainer` is the one place that makes this trainer, for annotated clips and for the policy's own
rollouts. Imports TRL at the top, so import it inside functions only.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from cac.model.adapters import without_wrapper
from cac.params import Compute, SftOptimisation
from cac.training.collator import IGNORE_INDEX, Dialogue, collate, training_template
from cac.training.dense_token_loss import LABEL_WORDS, PROBED_LAYER, dense_token_loss
from cac.training.trainer_arguments import TrainerInputs, trainer_arguments

DECISION_WORDS = ("odd", "clear", "seen", "yes", "no", *LABEL_WORDS)


def first_token_ids(tokenizer: Any, words: Sequence[str]) -> list[int]:
    """Return the id of the first token of each word, tokenised as inside a line."""
    return [tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in words]


class DialogueSFTTrainer(SFTTrainer):
    """`SFTTrainer` that adds the loss of the decision words and the dense token loss.

    Attributes:
        decision_weight: the weight of the mean loss of the decision words; 0 switches it off.
        dense_token_loss_weight: the weight of the dense token loss, which needs `dense_labels`; 0 switches it off.
        decision_ids: the ids of the decision words' first tokens.
        label_word_ids: the ids of the first tokens of `LABEL_WORDS`.
        image_token_id: the id of the image placeholder.
    """

    decision_weight: float = 0.0
    dense_token_loss_weight: float = 0.0
    decision_ids: Sequence[int] = ()
    label_word_ids: Sequence[int] = ()
    image_token_id: int = -1

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return TRL's loss plus the two additional ones, from the same forward pass."""
        dense_labels = inputs.pop("dense_labels", None)
        tokens = self._label_count(inputs["labels"]) if num_items_in_batch is None else num_items_in_batch
        if return_outputs or self.decision_weight == self.dense_token_loss_weight == 0:
            return super().compute_loss(model, inputs, return_outputs, tokens)  # type: ignore[no-untyped-call]
        outputs: list[Any] = []

        def recorded(**kwargs: Any) -> Any:
            outputs.append(model(**kwargs))
            return outputs[-1]

        with self._probed_states() as states:
            loss = super().compute_loss(recorded, inputs, num_items_in_batch=tokens)  # type: ignore[no-untyped-call]
        added = self.decision_weight * self._decision_loss(outputs[0].log_probs, inputs["labels"][:, 1:])
        if self.dense_token_loss_weight and dense_labels is not None:
            image_states = states[0][inputs["input_ids"] == self.image_token_id]
            dense = dense_token_loss(
                without_wrapper(self.model), image_states, dense_labels, self.label_word_ids, self._mean_denominator
            )
            added = added + self.dense_token_loss_weight * dense
        # With a token count from outside, the caller leaves averaging over accumulated batches to the loss.
        parts = self.current_gradient_accumulation_steps if num_items_in_batch is not None else 1
        return loss + added / parts

    def _label_count(self, labels: torch.Tensor) -> torch.Tensor | None:
        """Return the number of labelled tokens in all processes; None with one process, where the trainer counts.

        The trainer counts over processes only for models whose `forward` accepts the count, and Qwen3-VL's does not.
        The mean of the processes' means would weigh the tokens of short answers more.
        """
        if self.accelerator.num_processes == 1:
            return None
        result: torch.Tensor | None = self.accelerator.reduce((labels[:, 1:] != IGNORE_INDEX).sum(), "sum")
        return result

    def _decision_loss(self, log_probs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        decisive = torch.isin(labels, torch.tensor(self.decision_ids, device=labels.device))
        least = 1 / self.accelerator.num_processes  # one in all processes together
        return -log_probs[decisive].sum() / self._mean_denominator(decisive.sum()).clamp(min=least)

    def _mean_denominator(self, number: torch.Tensor) -> torch.Tensor:
        """Return the denominator that makes a sum this process's part of a mean over the samples of all processes.

        That is the total number divided by the number of processes, because gradients are averaged over processes.
        """
        processes = self.accelerator.num_processes
        return number if processes == 1 else self.accelerator.reduce(number.float(), "sum") / processes

    @contextmanager
    def _probed_states(self) -> Iterator[list[torch.Tensor]]:
        """Collect the outputs of `PROBED_LAYER` in the list it yields."""
        states: list[torch.Tensor] = []
        layer = without_wrapper(self.model).model.language_model.layers[PROBED_LAYER]
        hook = layer.register_forward_hook(lambda _module, _inputs, output: states.append(output))
        try:
            yield states
        finally:
            hook.remove()


def build_trainer(
    name: str,
    settings: SftOptimisation,
    compute: Compute,
    inputs: TrainerInputs,
    dialogues: Sequence[Callable[[], Dialogue]],
) -> DialogueSFTTrainer:
    """Build the trainer over dialogues, in their order; each is made when its batch is.

    Args:
        name: the section of `params.yaml`, for error messages.
        settings: how to train.
        compute: seed and gradient checkpointing.
        inputs: the model, its processor and the checkpoint folder.
        dialogues: functions that make the dialogues of all steps.
    """
    processor = inputs.processor
    template = training_template(processor)

    def collate_rows(rows: list[dict[str, int]]) -> dict[str, Any]:
        return collate(processor, template, [dialogues[row["sample"]]() for row in rows])

    config = SFTConfig(
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        weight_decay=settings.weight_decay,
        train_sampling_strategy="sequential",  # the samples are drawn in order, each batch of one kind
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        **trainer_arguments(name, settings, compute, inputs.checkpoint_folder),
    )
    trainer = DialogueSFTTrainer(
        model=inputs.model,
        args=config,
        train_dataset=Dataset.from_dict({"sample": list(range(len(dialogues)))}),
        data_collator=collate_rows,
        processing_class=processor,
    )
    trainer.decision_weight = settings.decision_weight
    trainer.decision_ids = first_token_ids(processor.tokenizer, DECISION_WORDS)
    trainer.dense_token_loss_weight = settings.dense_token_loss_weight
    trainer.label_word_ids = first_token_ids(processor.tokenizer, LABEL_WORDS)
    trainer.image_token_id = processor.image_token_id
    return trainer
