"""A stage's adapter on the base as what judges videos: for evaluation, and for rollouts drawn like judgements."""

from pathlib import Path

from cac.model.adapters import load_adapter
from cac.model.loading import base_identity, best_device, load_base
from cac.model.reward_model import RewardModel
from cac.params import Params


def adapted_reward_model(adapter: Path | None, params: Params) -> RewardModel:
    """Load the base with an adapter, or without one, as what judges videos, on the best device there is.

    Raises:
        CacError: the base or the adapter is missing or does not fit.
    """
    model, processor = load_base(params.model)
    if adapter is not None:
        model = load_adapter(model, adapter, base_identity(params.model), trainable=False)
    model = model.eval().to(best_device())
    return RewardModel(model, processor, params.frames, max_turn_tokens=params.evaluation.max_turn_tokens)
