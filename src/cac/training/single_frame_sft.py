"""Stage 1, spatial anchoring: one frame in, its anomaly's box and leaf out, or "none".

Only anomalies that a single frame shows take part; the answer's grammar is that of the second turn, so that what is
learned here carries over.
"""

from pathlib import Path

from cac.params import Params
from cac.paths import SINGLE_FRAME_SFT
from cac.training.sft import Stage, train_stage


def train(params: Params, root: Path) -> None:
    """Train a fresh adapter on single frames; see `supervised.train_stage`."""
    train_stage(Stage(SINGLE_FRAME_SFT, params.single_frame_sft, previous=None), params, root)
