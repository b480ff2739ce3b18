"""Stage 1, spatial anchoring: one frame in; the box and leaf of its anomaly out, or "none".

Only anomalies that are visible in a single frame are used. The answers follow the grammar of the second turn, so what
is learned here transfers to it. An anomaly without boxes gives frames of its window, with "seen", leaf and verdict but
no coordinate to learn, so a dataset that says only when trains through all stages; its frames outside the window are
frames without an anomaly.
"""

from pathlib import Path

from cac.params import Params
from cac.paths import SINGLE_FRAME_SFT
from cac.training.sft import SftStage, train_stage


def train(params: Params, root: Path) -> None:
    """Train a new adapter on single frames; see `sft.train_stage`."""
    train_stage(SftStage(SINGLE_FRAME_SFT, params.single_frame_sft, previous=None), params, root)
