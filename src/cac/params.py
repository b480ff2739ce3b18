"""All settings: `params.yaml` as frozen, strict pydantic models, one class a section.

An unknown key, a wrong type or an invalid value raises a `CacError` that names the key and the allowed values. A stage
reads only the sections in `STAGE_SECTIONS`, and `dvc.yaml` lists the same, so a change re-runs only the stages that
depend on it.
"""

import re
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from cac.errors import CacError
from cac.frames import Frames
from cac.params_errors import explain
from cac.paths import MULTI_FRAME_SFT, SINGLE_FRAME_SFT, TWO_TURN_GRPO
from cac.setting_types import Count, Fraction, NotNegative, Positive, Section

PARAMS_FILE = Path("params.yaml")

_TRAINING = ("compute", "frames", "model", "adapter", "train_partition")
STAGE_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "validate": ("validation",),
    SINGLE_FRAME_SFT: (*_TRAINING, SINGLE_FRAME_SFT),
    MULTI_FRAME_SFT: (*_TRAINING, MULTI_FRAME_SFT),
    TWO_TURN_GRPO: (*_TRAINING, TWO_TURN_GRPO),
    "evaluate": (
        *("compute", "frames", "model", "evaluation"),
        *("two_turn_grpo.reward_weights", "two_turn_grpo.false_alarm_reward"),
    ),
    "register": ("frames", "model", "registry"),
}


class Compute(Section):
    """Seed and hardware use: what results depend on besides the inputs and the other settings."""

    seed: Annotated[int, Field(ge=0)]
    threads: Count  # CPU threads of a process; results are byte-identical only for the same number
    accelerate: str | None  # an accelerate config for distributed training; null: one process
    gradient_checkpointing: bool  # recompute activations to save memory; for large bases


class ProceduralData(Section):
    """The embedded sample dataset; a change needs a new `data.dvc`."""

    pairs: Count  # scenes; each gives an anomalous clip and its clean twin
    shifted_pairs: Annotated[int, Field(ge=0)]  # scenes with another look and motion, the split `test_shifted`
    hard_train_pairs: Annotated[int, Field(ge=0)]  # long scenes with a brief or small anomaly, in `train`
    hard_test_pairs: Annotated[int, Field(ge=0)]  # other such scenes, the split `test_hard`
    size: Annotated[int, Field(ge=32)]  # frame height and width, pixels
    fps: Count
    min_frames: Annotated[int, Field(ge=8)]
    max_frames: Annotated[int, Field(ge=8)]
    distractor_ratio: Fraction  # of the scenes: those with a harmless change that must not be flagged
    val_ratio: Fraction
    test_ratio: Fraction

    @model_validator(mode="after")
    def _consistent(self) -> "ProceduralData":
        if self.max_frames < self.min_frames:
            raise ValueError("max_frames must be at least min_frames")
        if self.val_ratio + self.test_ratio >= 1:
            raise ValueError("val_ratio + test_ratio must be below 1, to leave clips for training")
        return self


class Validation(Section):
    """Bounds of the data checks. DVC sees the name in `reference` only, so use a tag or commit that never changes."""

    min_clips_per_split: Count
    min_clean_ratio: Fraction
    max_clean_ratio: Fraction
    min_clips_per_family: Count  # anomalous clips of each family, whole dataset
    max_duration: Positive  # seconds
    max_side: Count  # pixels of a frame; a larger one is not decoded
    near_duplicate_distance: Fraction  # clips of different splits whose hashes differ in fewer bits are duplicates
    min_agreement: Fraction  # between annotators of the same clip, if a dataset has annotator opinions
    max_drift: Fraction  # of any statistic since the reference
    reference: str | None  # dataset version to measure drift from: a folder, tag or commit; null: skip


class Model(Section):
    """The base model: `nano`, which ships with the package, a local folder, or a Hub id with its revision."""

    base: str
    revision: str | None
    dtype: Literal["float32", "bfloat16"]


class TrainPartition(Section):
    """Which clips of the train split each stage trains on."""

    reinforcement_ratio: Fraction  # of the pairs, reserved for GRPO; 0: all stages train on all pairs


class Adapter(Section):
    """The LoRA adapter that all three stages train; names as in `peft.LoraConfig`."""

    r: Count
    lora_alpha: Count
    lora_dropout: Fraction
    # "merged": add the adapter to the weights once a pass, which is faster for narrow models. "separate": as in PEFT,
    # which needs no gradient of a whole weight in memory.
    lora_forward: Literal["merged", "separate"]
    target_modules: str  # a regular expression for module names

    @model_validator(mode="after")
    def _can_be_computed(self) -> "Adapter":
        if self.lora_forward == "merged" and self.lora_dropout:
            raise ValueError("lora_dropout must be 0 with lora_forward: merged, which has no separate adapter path")
        return self

    @field_validator("target_modules")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value


class TrainerSettings(Section):
    """What every trainer needs; names as in `transformers.TrainingArguments`. The schedule is cosine."""

    max_steps: Count
    batch_size: Count  # samples of one forward and backward pass, all processes together
    learning_rate: Positive
    warmup_ratio: Fraction  # of max_steps; the first warm-up step has learning rate 0
    train_vision: bool  # whether the vision tower's part of the adapter is trained; otherwise it stays unchanged
    max_grad_norm: Positive
    save_steps: Count  # steps between resumable checkpoints
    logging_steps: Count


class SftOptimisation(TrainerSettings):
    """How a supervised trainer optimises."""

    gradient_accumulation_steps: Count
    weight_decay: NotNegative
    decision_weight: NotNegative  # weight of the loss on the decision words, added to TRL's mean loss
    dense_token_loss_weight: NotNegative  # weight of the loss on image tokens; 0 switches it off


class SftSampling(Section):
    """The samples of a supervised stage."""

    anomalous_ratio: Fraction  # of each batch: samples whose frame or clip has an anomaly
    single_frame_ratio: Fraction  # of all batches: those of single frames (1 in the first stage)
    wrong_scan_ratio: Fraction  # of the two-turn samples: those whose second turn follows a wrong scan


class Sft(SftOptimisation, SftSampling):
    """A supervised stage."""


class RewardWeights(Section):
    """Weights of the reward components; 0 switches one off (it is still logged)."""

    accuracy: NotNegative
    scan: NotNegative  # the scan's windows cover the anomaly without being wide
    temporal_iou: NotNegative  # of the final windows
    spatial_iou: NotNegative
    attribution: NotNegative
    format: NotNegative


class RejectionSampling(Section):
    """The first part of the GRPO stage: SFT on the best of the policy's own rollouts."""

    clips: Annotated[int, Field(ge=0)]  # maximum number of clips to sample rollouts of; 0 skips this part
    scans: Annotated[int, Field(ge=2)]  # scans sampled per clip; the best is used
    tries: Count  # maximum number of best scans per clip that are followed by looks
    looks: Annotated[int, Field(ge=2)]  # looks sampled after each of these scans; the best is used
    temperature: Positive
    rollouts_at_once: Count  # batch size of sampling, per process
    num_train_epochs: Count  # epochs over the selected rollouts
    batch_size: Count  # rollouts per optimiser step
    learning_rate: Positive
    warmup_ratio: Fraction
    decision_weight: NotNegative  # as in the supervised stages
    save_steps: Count
    logging_steps: Count


class Grpo(TrainerSettings):
    """The two-turn GRPO stage; names as in `trl.GRPOConfig`. `batch_size` counts rollouts."""

    prompts_per_step: Count  # times num_generations: a multiple of batch_size
    num_generations: Annotated[int, Field(ge=2)]  # rollouts per prompt, the group
    temperature: Positive
    beta: NotNegative  # weight of the KL term to the policy at the start of the stage; 0 switches it off
    max_turn_tokens: Count  # tokens of both turns together
    constrained_decoding: bool  # whether rollouts follow the grammar, as in scoring; false: free generation by TRL
    scale_rewards: Literal["group", "batch", "none"]
    advantages: Literal["turn", "trajectory"]  # one advantage per turn, from its own rewards, or one for all tokens
    scan_verdict_ratio: Fraction  # with "turn": share of the verdict's reward that is credited to the scan
    look_credit: Fraction  # with "turn": factor on the look's advantages; 0 reinforces the scan only
    reward_weights: RewardWeights
    false_alarm_reward: Annotated[float, Field(le=0)]  # accuracy reward of calling a clean clip anomalous
    rejection_sampling: RejectionSampling

    @model_validator(mode="after")
    def _whole_batches(self) -> "Grpo":
        rollouts = self.prompts_per_step * self.num_generations
        if rollouts % self.batch_size:
            raise ValueError(f"batch_size must divide prompts_per_step * num_generations, which is {rollouts}")
        return self

    @model_validator(mode="after")
    def _some_reward(self) -> "Grpo":
        if not any(self.reward_weights.model_dump().values()):
            raise ValueError("at least one of reward_weights must be above 0")
        return self


class Evaluation(Section):
    """How checkpoints are evaluated."""

    batch_size: Count
    max_turn_tokens: Count
    bootstrap_samples: Count
    calibration_bins: Count
    report_clips: Count  # clips shown in the report


class MaxWorsening(Section):
    """How much worse than a reference each measured metric may be, in the metric's own unit; 1 allows everything."""

    balanced_accuracy: Fraction
    auroc: Fraction
    twin_accuracy: Fraction
    clean_window_rate: Fraction
    expected_calibration_error: Fraction


class Gate(Section):
    """What a version must reach on the test split to become champion; bounds apply to measured values."""

    min_balanced_accuracy: Fraction
    min_specificity: Fraction
    min_parse_rate: Fraction
    max_expected_calibration_error: Fraction
    max_seconds_per_clip: Positive  # as measured at registration, on that machine
    max_worsening: MaxWorsening  # against the champion and against the best version, on the same clips
    max_family_accuracy_drop: Fraction  # likewise, for the accuracy on any family of anomalies


class Registry(Section):
    """Where models are registered, and the promotion gate."""

    model_name: str
    experiment: str
    gate: Gate


class Monitoring(Section):
    """When recent clips from production count as drifted. No stage reads it."""

    source: str | None  # a folder or s3:// prefix; "{date}" in it is the day before, such as 2026-11-23
    min_clips: Annotated[int, Field(ge=20)]  # with fewer clips the check is skipped
    max_clips: Count  # with more clips this many are judged
    max_drift: Fraction  # maximum share of clips outside the reference distribution, by any statistic
    significance: Annotated[float, Field(gt=0, lt=1)]  # false alarm rate of the test

    @model_validator(mode="after")
    def _consistent(self) -> "Monitoring":
        if self.max_clips < self.min_clips:
            raise ValueError("max_clips must be at least min_clips")
        return self


class Params(Section):
    """All of `params.yaml`."""

    compute: Compute
    procedural_data: ProceduralData
    validation: Validation
    frames: Frames
    model: Model
    adapter: Adapter
    train_partition: TrainPartition
    single_frame_sft: Sft
    multi_frame_sft: Sft
    two_turn_grpo: Grpo
    evaluation: Evaluation
    registry: Registry
    monitoring: Monitoring

    @model_validator(mode="after")
    def _fit_together(self) -> "Params":
        if self.adapter.lora_forward == "merged" and self.model.dtype != "float32":
            raise ValueError(
                "model.dtype must be float32 with adapter.lora_forward: merged, because a 16-bit weight would round "
                "the adapter's contribution away; set adapter.lora_forward: separate"
            )
        return self

    def sections(self, stage: str) -> dict[str, Any]:
        """Return the settings that a stage reads as JSON-ready data, by the names in `STAGE_SECTIONS`."""
        values = self.model_dump(mode="json")
        return {name: reduce(getitem, name.split("."), values) for name in STAGE_SECTIONS[stage]}


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check the settings.

    Raises:
        CacError: the file is missing or not YAML, or a key is unknown, missing, given twice, or has a wrong value.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not path.is_file():
        raise CacError(f"no settings at {path}. Run from the project's root, or name the file with --params.")
    try:
        values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise CacError(f"{path} is not valid YAML: {error}") from error
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise CacError(f"{path}: " + "; ".join(explain(dict(problem), Params) for problem in error.errors())) from error
