"""The variants of the method: each removes or changes one part of the full method.

The last two are what people would use instead. Both show the frames of one look, as many as two looks have together.
`yes_no` has the same base, clips, frames, steps, batches, rates and losses as without_stage_3, but asks one question;
`frame_judge` has no training of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cac.params import Params
from cac.paths import MULTI_FRAME_SFT, SINGLE_FRAME_SFT, TRAINING_STAGES, TWO_TURN_GRPO

FULL = "full"


@dataclass(frozen=True)
class Variant:
    """One variant.

    Attributes:
        title: a short description, for tables.
        stages: the stages to train, in order; each starts from the adapter of the one before.
        settings: the differences to `params.yaml`, by dotted key.
        baseline: the variant to compare with.
        frame_by_frame: whether the adapter judges each frame by itself (`frame_judge.py`).
    """

    title: str
    stages: tuple[str, ...] = TRAINING_STAGES
    settings: Mapping[str, object] = field(default_factory=dict)
    baseline: str = FULL
    frame_by_frame: bool = False


VARIANTS: dict[str, Variant] = {
    FULL: Variant("all three stages"),
    "without_stage_1": Variant("without single_frame_sft", (MULTI_FRAME_SFT, TWO_TURN_GRPO)),
    "without_stage_2": Variant("without multi_frame_sft", (SINGLE_FRAME_SFT, TWO_TURN_GRPO)),
    "without_stage_3": Variant("without two_turn_grpo", (SINGLE_FRAME_SFT, MULTI_FRAME_SFT)),
    "one_look": Variant(
        "one look with as many frames, without two_turn_grpo",
        (SINGLE_FRAME_SFT, MULTI_FRAME_SFT),
        {"frames.looks": 1, "evaluation.max_turn_tokens": 160},  # one answer with the lines of both turns
        baseline="without_stage_3",
    ),
    "without_temporal_reward": Variant(
        "no temporal rewards",
        settings={"two_turn_grpo.reward_weights.scan": 0.0, "two_turn_grpo.reward_weights.temporal_iou": 0.0},
    ),
    "without_spatial_reward": Variant(
        "no spatial IoU reward", settings={"two_turn_grpo.reward_weights.spatial_iou": 0.0}
    ),
    "gradients_alone": Variant("no rejection sampling", settings={"two_turn_grpo.rejection_sampling.clips": 0}),
    "trajectory_advantages": Variant(
        "one advantage for the whole trajectory", settings={"two_turn_grpo.advantages": "trajectory"}
    ),
    "yes_no": Variant(
        "one question, answered yes or no",
        (SINGLE_FRAME_SFT, MULTI_FRAME_SFT),
        {"frames.looks": 0},
        baseline="without_stage_3",
    ),
    "frame_judge": Variant(
        "each frame by itself, single_frame_sft alone",
        (SINGLE_FRAME_SFT,),
        baseline="without_stage_3",
        frame_by_frame=True,
    ),
}


def variant_params(params: Params, name: str, seed: int) -> Params:
    """Return the settings of a variant with a seed; its runs go to a separate MLflow experiment."""
    values = params.model_dump()
    changes = {
        **VARIANTS[name].settings,
        "compute.seed": seed,
        "registry.experiment": f"{params.registry.experiment}-ablation",
    }
    for key, value in changes.items():
        *path, last = key.split(".")
        section = values
        for part in path:
            section = section[part]
        section[last] = value
    return Params.model_validate(values)
