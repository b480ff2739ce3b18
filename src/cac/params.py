"""Every setting, typed and checked: `params.yaml` as frozen, strict models, one section a stage.

An unknown key, a wrong type or an impossible value ends in a `CacError` that names the key and what is allowed. A stage
reads only its own sections, and `dvc.yaml` names the same ones, so that a change re-runs just what it must.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cac.errors import CacError

PARAMS_FILE = Path("params.yaml")

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Compute(_Section):
    """What the same bytes depend on besides the inputs."""

    seed: Annotated[int, Field(ge=0)]
    threads: Count  # CPU threads of a process; results are the same to the byte only for the same number.
    accelerate: str | None  # an accelerate config: train in the processes it names; null: in one
    gradient_checkpointing: bool  # compute activations twice instead of keeping them; for bases that fill the memory


class ProceduralData(_Section):
    """The embedded sample dataset; changing it means a new `data.dvc`."""

    pairs: Count  # scenes; each gives an anomalous clip and its clean twin
    shifted_pairs: Annotated[int, Field(ge=0)]  # more of them, unlike the others in look and motion: `test_shifted`
    size: Annotated[int, Field(ge=32)]  # frame height and width, pixels
    fps: Count
    min_frames: Annotated[int, Field(ge=8)]
    max_frames: Annotated[int, Field(ge=8)]
    distractor_share: Fraction  # of the scenes in which something changes for a while as it should
    val_share: Fraction
    test_share: Fraction

    @model_validator(mode="after")
    def _consistent(self) -> "ProceduralData":
        if self.max_frames < self.min_frames:
            raise ValueError("max_frames must be at least min_frames")
        if self.val_share + self.test_share >= 1:
            raise ValueError("val_share + test_share must leave something to train on (be below 1)")
        return self


class Validation(_Section):
    """Bounds of the data checks. DVC does not see what a name stands for: let `reference` be one that never moves."""

    min_clips_per_split: Count
    min_clean_share: Fraction
    max_clean_share: Fraction
    min_clips_per_family: Count  # anomalous clips of each family, whole dataset
    max_duration: Positive  # seconds
    max_side: Count  # pixels of a frame; a larger one is not decoded
    near_duplicate_distance: Fraction  # share of bits in which clips of different splits may look alike
    min_agreement: Fraction  # of two annotators of one clip, where a dataset has their opinions
    max_drift: Fraction  # of any measure since the reference
    reference: str | None  # the version drift is measured from: a folder, or a tag or commit of the repository


class Frames(_Section):
    """What the model sees. Sizes are the longer side in pixels.

    With `looks: 1` it sees the whole clip once, as many frames as in two looks together, and answers at once: the
    ablation that two looks are measured against. There is no reinforcement stage for it.
    """

    looks: Literal[1, 2]
    coarse_count: Count
    coarse_size: Count
    dense_count: Count
    dense_size: Count
    one_look_size: Count  # only with `looks: 1`


class Model(_Section):
    """The base model: `nano` ships with the package; anything else is a local folder or a Hub id with its revision."""

    base: str
    revision: str | None
    dtype: Literal["float32", "bfloat16"]


class Portions(_Section):
    """What of the train split each stage learns from."""

    reinforcement_share: Fraction  # of the pairs, kept from the supervised stages; 0: both learn from all


class Adapter(_Section):
    """The LoRA adapter all three stages train; handed on from stage to stage by name."""

    rank: Count
    alpha: Count
    dropout: Fraction
    # "sum": add the adapter to the weights once a pass, the faster for narrow models; "beside": compute it beside them,
    # as PEFT does, which keeps no gradient of a whole weight in memory.
    compute: Literal["sum", "beside"]
    target_modules: str  # a regular expression over module names

    @model_validator(mode="after")
    def _can_be_computed(self) -> "Adapter":
        if self.compute == "sum" and self.dropout:
            raise ValueError("dropout must be 0 with compute: sum, where no input of the adapter alone is left to drop")
        return self

    @field_validator("target_modules")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value


class Sft(_Section):
    """A supervised stage."""

    steps: Count
    batch_size: Count
    gradient_accumulation: Count
    learning_rate: Positive
    warmup_share: Fraction
    train_vision: bool  # whether the vision tower's part of the adapter learns too; else it stays as it was
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Positive
    decision_weight: Annotated[float, Field(ge=0)]  # how often the words that decide count besides TRL's mean loss
    evidence_weight: Annotated[float, Field(ge=0)]  # of what image tokens learn to show; 0 leaves it out
    anomalous_share: Fraction  # share of each batch whose frame or clip shows an anomaly
    single_frame_share: Fraction  # share of batches that are single frames (1 in the first stage)
    wrong_scan_share: Fraction  # share of two-turn samples whose second turn follows a wrong scan
    save_every: Count  # steps between resumable checkpoints
    log_every: Count


class RewardWeights(_Section):
    """Weights of the reward components; 0 switches one off (it is still logged)."""

    accuracy: Annotated[float, Field(ge=0)]
    temporal_iou: Annotated[float, Field(ge=0)]
    spatial_iou: Annotated[float, Field(ge=0)]
    attribution: Annotated[float, Field(ge=0)]
    format: Annotated[float, Field(ge=0)]


class Rejection(_Section):
    """The first part of the reinforcement stage: of a clip's rollouts the best is learned from."""

    clips: Annotated[int, Field(ge=0)]  # to draw rollouts of, at most; 0 leaves this part out
    scans: Annotated[int, Field(ge=2)]  # drawn of one clip, of which the best is kept
    tries: Count  # of the scans whose windows earn most, how many different ones are followed by looks, at most
    looks: Annotated[int, Field(ge=2)]  # drawn after a scan that is tried, of which the best is kept
    temperature: Positive
    rollouts_at_once: Count  # that a process draws together
    epochs: Count  # how often what is kept is learned from
    batch_size: Count  # rollouts learned from a step
    learning_rate: Positive
    warmup_share: Fraction
    decision_weight: Annotated[float, Field(ge=0)]  # as in the supervised stages
    save_every: Count
    log_every: Count


class Grpo(_Section):
    """The two-turn reinforcement stage."""

    steps: Count
    prompts_per_step: Count
    generations: Annotated[int, Field(ge=2)]  # rollouts of one prompt, the group
    batch_size: Count  # rollouts in one forward and backward pass, a divisor of prompts_per_step * generations
    learning_rate: Positive
    warmup_share: Fraction  # of the steps; the first of them has rate 0, and its rollouts teach nothing
    train_vision: bool  # as in the supervised stages
    temperature: Positive
    beta: Annotated[float, Field(ge=0)]  # weight of the KL term to the stage's start; 0 switches it off
    max_turn_tokens: Count  # tokens the model may write in both turns together
    guided: bool  # whether rollouts are kept to the dialogue's grammar, as scores are; else they are TRL's own
    max_grad_norm: Positive
    scale_rewards: Literal["group", "batch", "none"]
    advantages: Literal["turn", "trajectory"]  # credit each turn with its own rewards, or all tokens with all
    scan_verdict_share: Fraction  # with "turn": the part of the verdict's reward that the scan is credited with
    look_credit: Fraction  # with "turn": of the look's advantages beside the scan's; 0 reinforces the scan alone
    save_every: Count
    log_every: Count
    reward_weights: RewardWeights
    false_alarm_reward: Annotated[float, Field(le=0)]  # accuracy reward of calling a clean clip anomalous
    rejection: Rejection

    @model_validator(mode="after")
    def _whole_batches(self) -> "Grpo":
        rollouts = self.prompts_per_step * self.generations
        if rollouts % self.batch_size:
            raise ValueError(f"batch_size must divide prompts_per_step * generations, which is {rollouts}")
        return self

    @model_validator(mode="after")
    def _some_reward(self) -> "Grpo":
        if not any(self.reward_weights.model_dump().values()):
            raise ValueError("at least one of reward_weights must be above 0")
        return self


class Evaluation(_Section):
    """How checkpoints are measured."""

    batch_size: Count
    max_turn_tokens: Count
    bootstrap_samples: Count
    calibration_bins: Count
    report_clips: Count  # clips shown in the report


class Gate(_Section):
    """What a checkpoint must reach on the test split to become champion: the value, not its interval, but for one."""

    min_balanced_accuracy: Fraction
    min_specificity: Fraction
    min_parse_rate: Fraction
    max_expected_calibration_error: Fraction
    max_seconds_per_clip: Positive  # as timed on registration, on the machine that registered
    max_balanced_accuracy_drop: Fraction  # against the champion on the same clips: how far the interval may reach down
    max_family_accuracy_drop: Fraction  # likewise, in any family of anomalies: the plain difference


class Registry(_Section):
    """Where models are registered and when they are promoted."""

    model_name: str
    experiment: str
    gate: Gate


class Monitoring(_Section):
    """When recent clips of production count as drifted. No stage reads it."""

    place: str | None  # a folder or s3:// prefix; "{date}" in it is the day before, such as 2026-11-23
    min_clips: Annotated[int, Field(ge=20)]  # fewer are not judged
    max_clips: Count  # of more, so many are judged
    max_drift: Fraction  # the part of the clips that may be elsewhere than in the reference, by any measure
    significance: Annotated[float, Field(gt=0, lt=1)]  # how often chance alone may raise an alarm

    @model_validator(mode="after")
    def _consistent(self) -> "Monitoring":
        if self.max_clips < self.min_clips:
            raise ValueError("max_clips must be at least min_clips")
        return self


class Params(_Section):
    """All of `params.yaml`."""

    compute: Compute
    procedural_data: ProceduralData
    validation: Validation
    frames: Frames
    model: Model
    adapter: Adapter
    portions: Portions
    single_frame_sft: Sft
    multi_frame_sft: Sft
    two_turn_grpo: Grpo
    evaluation: Evaluation
    registry: Registry
    monitoring: Monitoring

    @model_validator(mode="after")
    def _fit_together(self) -> "Params":
        if self.adapter.compute == "sum" and self.model.dtype != "float32":
            raise ValueError(
                "model.dtype must be float32 with adapter.compute: sum, where what an adapter adds would be lost in "
                "the rounding of the weight; set adapter.compute: beside"
            )
        return self


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check the settings.

    Raises:
        CacError: the file is missing or no YAML, or a key is unknown, missing, of the wrong type or out of range.
    """
    from yaml import YAMLError

    if not path.is_file():
        raise CacError(f"no settings at {path}. Run from the project's root, or name the file with --params.")
    try:
        values = _read_yaml(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise CacError(f"{path} is not valid YAML: {error}") from error
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise CacError(f"{path}: " + "; ".join(_explain(dict(problem)) for problem in error.errors())) from error


def _read_yaml(text: str) -> object:
    """Read YAML without executing anything, and without letting the second of two equal keys win in silence.

    Raises:
        YAMLError: it is no YAML, or a mapping has a key twice.
    """
    import yaml

    class StrictLoader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} stands twice", node.start_mark)
            return super().construct_mapping(node, deep)

    return yaml.load(text, StrictLoader)


def _explain(problem: dict) -> str:
    """Say what is wrong with one key; for an unknown key name the ones there are."""
    key = ".".join(map(str, problem["loc"])) or "the file"
    if problem["type"] == "float_type" and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", str(problem["input"])):
        return f"{key}: YAML reads {problem['input']} as text; write it as a decimal, such as 0.001"
    if problem["type"] == "missing":
        return f"{key}: missing; src/cac/params.py says what it means and what is allowed"
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):  # of several keys, which it names
        return f"{key}: {problem['ctx']['error']}"
    if problem["type"] != "extra_forbidden":
        return f"{key}: {problem['msg']} (found {problem['input']!r})"
    section: type[BaseModel] = Params
    for name in problem["loc"][:-1]:
        section = section.model_fields[name].annotation  # type: ignore[assignment]
    return f"{key}: unknown key; allowed here: {', '.join(section.model_fields)}"
