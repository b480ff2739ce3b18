"""The pipeline's steps in order; apart from the flow, because whoever only names them need not wait for Prefect."""

STAGES = ("validate", "single_frame_sft", "multi_frame_sft", "two_turn_grpo", "evaluate")  # as in dvc.yaml
STEPS = (*STAGES, "register", "promote")
