"""The processes that train together: one, or as many as `launch.py` starts.

The trainers share batches and gradients among them. Here is what they leave to the caller: who writes, and who waits
for what is written; and that a batch is the same samples however many processes share it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cac.errors import CacError

if TYPE_CHECKING:
    from accelerate import PartialState
    from torch import Tensor


def count() -> int:
    """Return how many processes there are, this one included."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return this process's number among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Tell whether this is the process that writes."""
    return rank() == 0


def share(batch_size: int, name: str) -> int:
    """Return this process's share of a batch.

    Args:
        batch_size: samples of all processes together.
        name: of the setting, for the error.

    Raises:
        CacError: the batch cannot be shared evenly.
    """
    if batch_size % count():
        raise CacError(
            f"{name} is {batch_size}, which {count()} processes cannot share evenly. It counts the samples of all "
            f"processes together: set it to a multiple of {count()}."
        )
    return batch_size // count()


def share_the_model() -> bool:
    """Tell whether each process is to hold only a part of the model."""
    return any(os.environ.get(name) == "true" for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"))


@contextmanager
def main_first() -> Iterator[None]:
    """Let the main process through first and the others when it is done."""
    if count() == 1:
        yield
        return
    with _state().main_process_first():
        yield


def wait() -> None:
    """Wait until all processes have come here."""
    if count() > 1:
        _state().wait_for_everyone()


def whole_weights(trainer: Any) -> Mapping[str, "Tensor"] | None:
    """Return the weights gathered from all processes if each holds a part of them only, else None.

    All processes must call this together.
    """
    return trainer.accelerator.get_state_dict(trainer.model_wrapped) if share_the_model() else None


def _state() -> "PartialState":
    """Return what the processes talk through, which the first call sets up."""
    from accelerate import PartialState

    return PartialState(cpu=best_device() == "cpu")


def best_device() -> str:
    """Return where to compute: "cuda" on a machine with a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
