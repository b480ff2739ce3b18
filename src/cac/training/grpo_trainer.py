"""TRL's GRPO trainer with one guard: it never trains blind.

Imports TRL at the top, so import it inside functions only.
"""

from typing import Any

from trl import GRPOTrainer


class TwoTurnGRPOTrainer(GRPOTrainer):
    """`GRPOTrainer` that refuses a batch whose images TRL dropped.

    On any mismatch of image tokens and features TRL 1.16 drops all images of the batch without a word.
    """

    rollout_samples: list[str]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if "pixel_values" not in output:
            raise RuntimeError("image tokens and image features of a rollout do not match, so TRL dropped the images")
        return output
