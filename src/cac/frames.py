"""The section `frames` of params.yaml: which frames of a clip a model sees, and how large.

Out of scope: the choice itself (`video/sampling.py`) and long clips (`video/segments.py`).
"""

from typing import Literal

from pydantic import model_validator

from cac.setting_types import Count, NotNegative, Positive, Section


class Frames(Section):
    """The frames that the model sees. Sizes are the longer side in pixels.

    With `looks: 1`, an ablation, the model sees the whole clip once, with as many frames as two looks have together.
    With `looks: 0`, a baseline, it sees the same frames and only answers yes or no. Neither has a GRPO stage.

    Without rates every clip is shown with the same number of frames, however long it is. With a `coarse_rate`, a clip
    that needs more than `coarse_count` frames is judged in overlapping segments.
    """

    looks: Literal[0, 1, 2]
    coarse_count: Count  # of a segment; with a rate the largest number
    coarse_rate: Positive | None  # coarse frames a second; null: coarse_count for any length
    coarse_size: Count
    dense_count: Count  # of all windows of a segment; with a rate the largest number
    dense_rate: Positive | None  # dense frames a second of the windows; null: dense_count for any length
    dense_size: Count
    one_look_size: Count  # only with `looks` below 2
    overlap: NotNegative  # seconds that neighbouring segments share; without a coarse_rate there is one segment

    @property
    def segment_seconds(self) -> float | None:
        """The longest segment in seconds; None if a clip of any length is one."""
        return None if self.coarse_rate is None else self.coarse_count / self.coarse_rate

    @model_validator(mode="after")
    def _segments_advance(self) -> "Frames":
        if self.segment_seconds is not None and self.overlap >= self.segment_seconds:
            raise ValueError(
                f"overlap {self.overlap:g} s must be below a segment's {self.segment_seconds:g} s, which is "
                "coarse_count / coarse_rate"
            )
        return self
