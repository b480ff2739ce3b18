"""What a stage reads, checked before it starts: a missing input then leaves no MLflow store, run or checkpoint folder.

Out of scope: whether the inputs fit each other, which the stage checks when it loads them.
"""

from pathlib import Path

from cac.errors import CacError
from cac.model.adapter_files import read_config, read_weights
from cac.paths import DATASET, MODELS, TRAINING_STAGES
from cac.schema.annotations import Split, read_clips


def check_inputs(root: Path, stage: str) -> None:
    """Check the dataset and the adapter that a training stage starts from.

    Raises:
        CacError: one is missing or cannot be read.
    """
    check_dataset(root, "train")
    position = TRAINING_STAGES.index(stage)
    if position:
        previous = root / MODELS / TRAINING_STAGES[position - 1]
        read_config(previous)
        read_weights(previous)


def check_dataset(root: Path, *splits: Split) -> None:
    """Check that the project's dataset can be read and has clips of the splits.

    Raises:
        CacError: it cannot be read, or has none.
    """
    there = {clip.split for clip in read_clips(root / DATASET)}
    if missing := [split for split in splits if split not in there]:
        raise CacError(f"{root / DATASET} has no clips of {', '.join(missing)}. Assign splits with `cac data split`.")
