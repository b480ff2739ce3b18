"""Where the pipeline's parts lie, relative to the project's root, and the names of its stages."""

from pathlib import Path

SINGLE_FRAME_SFT = "single_frame_sft"
MULTI_FRAME_SFT = "multi_frame_sft"
TWO_TURN_GRPO = "two_turn_grpo"
TRAINING_STAGES = (SINGLE_FRAME_SFT, MULTI_FRAME_SFT, TWO_TURN_GRPO)

DVC_YAML, DVC_LOCK = Path("dvc.yaml"), Path("dvc.lock")  # the stages, and the hashes of what each last read and made
DATASET = Path("data")
DATA_DVC = Path("data.dvc")  # names the dataset's version
VALIDATION = Path("reports/validation")
VALIDATION_RESULT = VALIDATION / "result.json"
DATA_DOCS = VALIDATION / "data_docs/index.html"
MODELS = Path("models")  # an adapter folder a stage
HISTORIES = Path("metrics")  # a JSON file a stage
EVALUATION_METRICS = Path("metrics/evaluation.json")
COMPARISONS = Path("metrics/comparisons.json")  # of checkpoints, on the same clips
GROUPS = Path("metrics/groups.json")  # the last checkpoint by length and size of the anomaly
TRACKED_METRICS = (EVALUATION_METRICS, COMPARISONS, GROUPS)  # by git
EVALUATION = Path("evaluation")  # predictions and calibration
FAMILIARITY = EVALUATION / "familiarity.json"  # what the clips of the calibration have in common
EVALUATION_REPORT = Path("reports/evaluation")
SCRATCH = Path(".scratch")  # nothing in it is a result
DECISION = SCRATCH / "decision.json"  # what the gate last decided in this checkout

STAGES = ("validate", *TRAINING_STAGES, "evaluate")  # as in dvc.yaml
STEPS = (*STAGES, "register", "promote")
CHECKPOINTS = SCRATCH / "checkpoints"
