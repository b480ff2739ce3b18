"""The pipeline's steps in order; apart from the flow, because whoever only names them need not wait for Prefect."""

from cac.layout import TRAINING_STAGES

STAGES = ("validate", *TRAINING_STAGES, "evaluate")  # as in dvc.yaml
STEPS = (*STAGES, "register", "promote")
