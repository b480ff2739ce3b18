"""Loads a base model and its processor, and makes PyTorch deterministic.

`nano` is the base shipped with the package; any other name is a local folder or a Hub id with a pinned revision. Remote
code is never run, and only safetensors are read.
"""

import ctypes
import hashlib
import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.io.distributed import best_device
from cac.model.nano import nano_folder
from cac.params import Compute, Model

NANO = "nano"
WEIGHTS_PATTERN = "*.safetensors"
_BLOCK = 2**20  # bytes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of malloc.h


def make_deterministic(compute: Compute) -> None:
    """Seed every generator, fix the thread count, and allow only deterministic algorithms."""
    import torch
    from transformers import set_seed

    # MKL's guarantee of equal bits between runs on one machine; it costs no time in a training step.
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    # Transformers 5.23 warns about an argument that TRL 1.16 sets; users cannot act on it.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
    set_seed(compute.seed)
    torch.set_num_threads(compute.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    # On a GPU some operations have no deterministic algorithm; PyTorch then warns and uses another.
    torch.use_deterministic_algorithms(True, warn_only=best_device() != "cpu")
    # With deterministic algorithms PyTorch also fills new memory with NaN, to reveal reads of uninitialised memory.
    # Nothing here reads any, and a training step is 13 % shorter without.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # the stubs lack it
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Make glibc keep the memory of freed tensors; returning and refaulting it costs 6 % of a training step."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return  # another C library
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(_M_TOP_PAD, 256 * 2**20)
    libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the maximum


def load_base(settings: Model) -> tuple[Any, Any]:
    """Load the base model (in evaluation mode) and its processor.

    Raises:
        CacError: the folder is not a model, or a Hub id has no pinned revision.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    from cac.model.patches.transformers_vision_attention import batch_vision_attention

    logging.disable_progress_bar()
    source, options = _source(settings)
    try:
        model = AutoModelForImageTextToText.from_pretrained(
            source, dtype=getattr(torch, settings.dtype), use_safetensors=True, trust_remote_code=False, **options
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise _unloadable(settings, error) from error
    batch_vision_attention(model)
    return model.eval(), load_processor(settings)


def load_processor(settings: Model) -> Any:
    """Load the base's processor alone, without its weights.

    Raises:
        CacError: as `load_base`.
    """
    from transformers import AutoProcessor

    source, options = _source(settings)
    try:
        return AutoProcessor.from_pretrained(source, trust_remote_code=False, **options)
    except (OSError, ValueError) as error:
        raise _unloadable(settings, error) from error


def _unloadable(settings: Model, error: Exception) -> CacError:
    reason = str(error).splitlines()[0]
    return CacError(f"model.base {settings.base!r} cannot be loaded as a vision-language model: {reason}")


def base_identity(settings: Model) -> str:
    """Return a machine-independent name of the base's weights: `nano-<hash>`, or `id@revision`."""
    folder = base_folder(settings)
    if folder is None:
        return f"{settings.base}@{settings.revision}"
    files = sorted(folder.glob(WEIGHTS_PATTERN))
    known = tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return f"{Path(settings.base).name}-{_weights_sha256(known)[:16]}"


@lru_cache
def _weights_sha256(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Hash files, each given with its size and time of change so that a changed file is read again."""
    digest = hashlib.sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def base_folder(settings: Model) -> Path | None:
    """Return the folder of a local base; None for a Hub id."""
    if settings.base == NANO:
        return nano_folder()
    return Path(settings.base) if Path(settings.base).is_dir() else None


def _source(settings: Model) -> tuple[str, dict[str, Any]]:
    folder = base_folder(settings)
    if folder is not None:
        if not any(folder.glob(WEIGHTS_PATTERN)):
            raise CacError(f"model.base {settings.base!r}: {folder} has no {WEIGHTS_PATTERN} file.")
        return str(folder), {}
    if settings.revision is None:
        raise CacError(
            f"model.base {settings.base!r} is not a local folder, so it is read as a Hub id: set model.revision to a "
            "commit hash, so that the base cannot change."
        )
    return settings.base, {"revision": settings.revision}
