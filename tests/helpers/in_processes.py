"""Run in each of several processes: stages 2 and 3 of the project in the current folder.

Stage 3's words are scripted, so that its rollouts are the same however many processes make them.
"""

from pathlib import Path

from helpers.scripted import script_rollouts

from cac.params import load_params
from cac.training import multi_frame_sft, two_turn_grpo


def train(root: Path) -> None:
    """Train both stages, the last one with scripted words."""
    params = load_params(root / "params.yaml")
    multi_frame_sft.train(params, root)
    build_trainer = two_turn_grpo.build_trainer

    def scripted(*args):
        trainer = build_trainer(*args)
        script_rollouts(trainer, trainer.processing_class.tokenizer)
        return trainer

    two_turn_grpo.build_trainer = scripted
    try:
        two_turn_grpo.train(params, root)
    finally:
        two_turn_grpo.build_trainer = build_trainer


if __name__ == "__main__":
    train(Path.cwd())
