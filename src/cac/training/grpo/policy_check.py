"""A check that the policy that generates rollouts is the one that the optimiser updates.

A generator that holds a copy of the weights (a vLLM engine without weight sync, a merged adapter) goes on sampling from
the policy of the first step. Rewards then look healthy and nothing is learned from them.
"""

from typing import Any

from transformers import TrainerCallback

from cac.errors import CacError
from cac.model.adapters import without_wrapper
from cac.training.grpo.constrained_rollouts import generating_model

_PREFIX = "base_model.model."  # of a PeftModel's names


class PolicyCheck(TrainerCallback):
    """After the first step that changes a weight, compares the weights that generate with those that are trained.

    Steps without an advantage (all rollouts of each clip with equal rewards) change nothing and are waited out.
    """

    def __init__(self) -> None:
        self._start: dict[str, Any] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Remember the trainable weights; an adapter's are small."""
        self._start = {name: weight.detach().clone() for name, weight in _trainable(model).items()}

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Check once.

        Raises:
            CacError: the generating policy lacks a trained weight, or has another value of it.
        """
        trained = _trainable(model)
        if self._start is None or all(weight.equal(self._start[name]) for name, weight in trained.items()):
            return
        self._start = None
        require_same_policy(trained, generating_model(without_wrapper(model)))


def require_same_policy(trained: dict[str, Any], generator: Any) -> None:
    """Check that a generating model has exactly these weights.

    Args:
        trained: weights by name, as in `PeftModel.named_parameters()`.
        generator: the model inside the `PeftModel` that generates, with its own parameters.

    Raises:
        CacError: it lacks one, or has another value of it.
    """
    held = dict(generator.named_parameters())
    for name, weight in trained.items():
        other = held.get(name.removeprefix(_PREFIX))
        if other is None or not other.equal(weight):
            raise CacError(
                f"after the first optimiser step the policy that generates rollouts is not the one that was updated: "
                f"{name} {'is missing in it' if other is None else 'has another value'}. Nothing would be learned; "
                "the generator must share the trained weights."
            )


def _trainable(model: Any) -> dict[str, Any]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
