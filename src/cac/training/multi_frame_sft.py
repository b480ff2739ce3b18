"""Stage 2, temporal anchoring: the whole two-turn dialogue, mixed with batches of single frames.

Only the assistant's tokens have labels, and of those no coordinate that nobody annotated (`samples.py`). Starts from
the adapter of stage 1.
"""

from pathlib import Path

from cac.params import Params
from cac.paths import MULTI_FRAME_SFT, SINGLE_FRAME_SFT
from cac.training.sft import SftStage, train_stage


def train(params: Params, root: Path, previous: str | None = SINGLE_FRAME_SFT) -> None:
    """Continue training the adapter of stage 1 on two-turn dialogues; see `sft.train_stage`.

    Ablations pass another previous stage, or None for a new adapter.
    """
    train_stage(SftStage(MULTI_FRAME_SFT, params.multi_frame_sft, previous), params, root)
