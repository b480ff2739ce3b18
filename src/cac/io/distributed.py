"""Distributed training: one process, or as many as `training/launch.py` starts.

The trainers distribute batches and gradients. This module does the rest: which process writes, when the others wait,
and how a batch is split, so that a step uses the same samples with any number of processes.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cac.errors import CacError

if TYPE_CHECKING:
    from accelerate import PartialState
    from torch import Tensor


def world_size() -> int:
    """Return the number of processes, this one included."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the index of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """Return whether this process writes the outputs."""
    return rank() == 0


def per_process_batch_size(batch_size: int, name: str) -> int:
    """Return how many samples of a batch this process takes.

    Args:
        batch_size: samples of all processes together.
        name: the name of the setting, for the error message.

    Raises:
        CacError: the batch size is not a multiple of the number of processes.
    """
    if batch_size % world_size():
        raise CacError(
            f"{name} is {batch_size}, which {world_size()} processes cannot share evenly. It counts the samples of all "
            f"processes together: set it to a multiple of {world_size()}."
        )
    return batch_size // world_size()


def is_model_sharded() -> bool:
    """Return whether each process holds only a part of the model (FSDP or DeepSpeed)."""
    return any(os.environ.get(name) == "true" for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"))


@contextmanager
def main_process_first() -> Iterator[None]:
    """Run the block in the main process first, then in the others."""
    if world_size() == 1:
        yield
        return
    with _state().main_process_first():
        yield


def wait_for_everyone() -> None:
    """Wait until every process has reached this call."""
    if world_size() > 1:
        _state().wait_for_everyone()


def gathered_weights(trainer: Any) -> Mapping[str, "Tensor"] | None:
    """Return the full weights, gathered from all processes; None if every process holds the whole model.

    All processes must call this together.
    """
    return trainer.accelerator.get_state_dict(trainer.model_wrapped) if is_model_sharded() else None


def _state() -> "PartialState":
    """Return the communication state; the first call initialises it."""
    from accelerate import PartialState

    return PartialState(cpu=best_device() == "cpu")


def best_device() -> str:
    """Return the device to compute on: "cuda" on a machine with a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
