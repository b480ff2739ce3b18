"""Stage 2, temporal anchoring: the full two-turn dialogue, with a share of single frames mixed in.

Loss is on the assistant's tokens only. Starts from the adapter of stage 1.
"""

from pathlib import Path

from cac.params import Params
from cac.paths import MULTI_FRAME_SFT, SINGLE_FRAME_SFT
from cac.training.sft import Stage, train_stage


def train(params: Params, root: Path, previous: str | None = SINGLE_FRAME_SFT) -> None:
    """Go on training stage 1's adapter on two-turn dialogues; see `supervised.train_stage`.

    Ablations start from another stage, or from a fresh adapter (None).
    """
    train_stage(Stage(MULTI_FRAME_SFT, params.multi_frame_sft, previous), params, root)
