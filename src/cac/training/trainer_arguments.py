"""The arguments that TRL's SFT and GRPO trainers share, in one place."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac.io.distributed import best_device, per_process_batch_size
from cac.params import Compute, TrainerSettings


@dataclass(frozen=True)
class TrainerInputs:
    """What a trainer is built from besides settings and data.

    Attributes:
        model: the model with its trainable adapter.
        processor: its processor.
        checkpoint_folder: where the trainer writes its checkpoints.
    """

    model: Any
    processor: Any
    checkpoint_folder: Path


def trainer_arguments(name: str, settings: TrainerSettings, compute: Compute, folder: Path) -> dict[str, Any]:
    """Return the optimiser, checkpoint and logging arguments of a stage's trainer.

    Args:
        name: the section of `params.yaml` that the settings are from, for error messages.
        settings: the settings of the stage.
        compute: seed and gradient checkpointing.
        folder: the checkpoint folder.

    Raises:
        CacError: the processes cannot share a batch evenly.
    """
    return {
        "output_dir": str(folder),
        "max_steps": settings.max_steps,
        "per_device_train_batch_size": per_process_batch_size(settings.batch_size, f"{name}.batch_size"),
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(settings.warmup_ratio * settings.max_steps),
        "max_grad_norm": settings.max_grad_norm,
        "seed": compute.seed,
        "save_strategy": "steps",
        "save_steps": settings.save_steps,
        "save_total_limit": 2,
        "logging_steps": settings.logging_steps,
        "report_to": "none",
        "disable_tqdm": True,
        "gradient_checkpointing": compute.gradient_checkpointing,
        "use_cpu": best_device() == "cpu",
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
        "full_determinism": False,  # loading.make_deterministic has set it up
        "bf16": False,  # model.dtype decides
    }
