"""The batches of pretraining: made in worker processes, equal for any number of workers.

A batch is small: pixels are bytes, and everything the model would compute in a loop over images is computed here. Out
of scope: the losses (`pretrain_nano.py`).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

from cac.model.nano import build_config, build_processor
from cac.training.collator import collate, training_template
from scripts.dense_clips import ClipLabels, joined, on_device
from scripts.dense_vision import dense_batch
from scripts.generic_tasks import COARSE_COUNT, SIZES, compare, easy_frame, multi_frame, single_frame, two_turn
from scripts.sorted_vision import Blocks, sort_by_size

TASKS = {"easy": (easy_frame, 64), "single": (single_frame, 64), "multi": (multi_frame, 16), "two_turn": (two_turn, 12)}
MIX = {"dense": 0.08, "single": 0.12, "compare": 0.2, "multi": 0.2, "two_turn": 0.4}
COMPARED = ((0.15, 2), (0.3, 3), (0.45, 4), (1.0, COARSE_COUNT))  # up to this share of the phase, this many frames
FRAMES_COMPARED = 192  # frames of all clips of a batch together
PLAIN_COMPARED = 0.1  # share of the clips with one object on a plain background
DENSE_FRAMES = 96
SMALL_STEPS = 700  # the first steps use small frames only, at half the cost
SINGLE_SHARE = 0.1  # of the comparison steps, to prevent forgetting
DENSE_SHARE = 0.15  # of the single-frame steps, to keep improving the tower
EASY_STEPS = 350  # over which the share of easy frames falls from 1 to 0


@dataclass(frozen=True)
class Schedule:
    """The number of steps of each phase, in order."""

    vision: int
    single: int
    compare: int
    mix: int

    @property
    def steps(self) -> int:
        """Number of steps of all phases."""
        return self.vision + self.single + self.compare + self.mix

    def phase(self, step: int) -> tuple[str, int]:
        """Return the phase that a step is in, and its number within it."""
        for name, length in vars(self).items():
            if step < length:
                return name, step
            step -= length
        raise ValueError("the step is after the last phase")


@dataclass(frozen=True)
class Batch:
    """One step's input.

    Attributes:
        task: the task; "dense" is a batch of frames for the tower only.
        blocks: the sizes of its images, as `sorted_vision.sort_by_size` returns them.
        tensors: `pixels` as bytes, sorted by size; of dialogues `input_ids`, `labels`, `position_ids` and `tokens`, the
            place of each image token in the sorted order; of dense frames a label of each token, in the sorted order.
        labels: the dense labels of a clip's frames, if there are any.
    """

    task: str
    blocks: Blocks
    tensors: dict[str, torch.Tensor]
    labels: ClipLabels | None = None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        tensors = {name: tensor.to(device, non_blocking=True) for name, tensor in self.tensors.items()}
        return replace(self, tensors=tensors, labels=None if self.labels is None else on_device(self.labels, device))


class StepBatches(Dataset):
    """Item `step` is the batch of that step, a function of the seed and the step only."""

    def __init__(self, schedule: Schedule, seed: int, scale: int):
        self.schedule, self.seed, self.scale = schedule, seed, scale
        self.processor = build_processor()
        self.template = training_template(self.processor)
        self.positions = PositionMaker(build_config(self.processor.tokenizer))

    def __getitem__(self, step: int) -> Batch:
        torch.set_num_threads(1)  # there can be a worker per core
        rng = np.random.default_rng([self.seed, step])
        phase, done = self.schedule.phase(step)
        task, count = draw_task(self.schedule, step, rng)
        if task == "dense":
            return self._dense(rng, done if phase == "vision" else None)
        return self._dialogues(task, draw_samples(task, count, self.scale, rng))

    def _dense(self, rng: np.random.Generator, step: int | None) -> Batch:
        """Draw frames for the tower alone; `step` sets how easy they are, None is for after the tower's own phase."""
        sizes = SIZES[:1] if step is not None and step < SMALL_STEPS else SIZES
        plain_share = 0.0 if step is None else max(0.0, 1 - step / EASY_STEPS)
        batch = dense_batch(self.processor, rng, DENSE_FRAMES * self.scale, plain_share, sizes)
        pixels, _, blocks = sort_by_size(batch.pop("pixel_values"), batch.pop("image_grid_thw")[:, 1])
        return Batch("dense", blocks, {"pixels": pixels, **batch})

    def _dialogues(self, task: str, samples: list[Any]) -> Batch:
        batch = collate(self.processor, self.template, samples)
        pixels, tokens, blocks = sort_by_size(batch["pixel_values"], batch["image_grid_thw"][:, 1])
        tensors = {
            "pixels": pixels,
            "tokens": tokens,
            "input_ids": batch["input_ids"],
            "labels": batch["labels"],
            "position_ids": self.positions(batch),
        }
        clips = [sample.labels for sample in samples if sample.labels is not None]
        return Batch(task, blocks, tensors, on_device(joined(clips), torch.device("cpu")) if clips else None)


class PositionMaker:
    """Qwen3-VL's position ids (time, row, column) without a model."""

    get_vision_position_ids = Qwen3VLModel.get_vision_position_ids
    get_rope_index = Qwen3VLModel.get_rope_index

    def __init__(self, config: Any):
        self.config = config

    def __call__(self, batch: dict[str, Any]) -> torch.Tensor:
        """Return the positions of a collated batch: (3, batch, length)."""
        names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "attention_mask")
        return self.get_rope_index(**{name: batch[name] for name in names})[0]


def draw_task(schedule: Schedule, step: int, rng: np.random.Generator) -> tuple[str, int]:
    """Draw the task of a step and its number of frames, which only `compare` uses."""
    phase, done = schedule.phase(step)
    if phase == "vision" or (phase == "single" and rng.random() < DENSE_SHARE):
        return "dense", 1
    if phase == "single":
        return ("easy" if rng.random() < 1 - done / EASY_STEPS else "single"), 1
    if phase == "compare" and rng.random() < SINGLE_SHARE:
        return "single", 1
    if phase == "compare":
        share = done / schedule.compare
        return "compare", next(count for end, count in COMPARED if share < end)
    return str(rng.choice(list(MIX), p=list(MIX.values()))), COARSE_COUNT


def draw_samples(name: str, count: int, scale: int, rng: np.random.Generator) -> list[Any]:
    """Make the samples of one step; `scale` is the batch size relative to two CPU cores."""
    if name == "compare":
        return [compare(rng, count, PLAIN_COMPARED) for _ in range(scale * FRAMES_COMPARED // count)]
    task, size = TASKS[name]
    return [task(rng) for _ in range(scale * size)]


def load(batches: StepBatches, start: int, workers: int) -> DataLoader:
    """Return the batches from step `start` on, made by this many worker processes (0: in this one)."""
    steps = range(start, batches.schedule.steps)
    # "fork" shares the tokenizer and the imports; it must happen before a GPU is touched.
    context = "fork" if workers else None
    return DataLoader(batches, batch_size=None, sampler=steps, num_workers=workers, multiprocessing_context=context)
