import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.adapters import changed_adapter

from cac.errors import CacError
from cac.model.adapters import without_wrapper
from cac.model.loading import load_base
from cac.params import Params
from cac.training.grpo.constrained_rollouts import constrain_generation
from cac.training.grpo.policy_check import PolicyCheck


@pytest.fixture
def policy(fresh_base: Path, project_params: Params) -> tuple[Any, Any]:
    """An adapter in training, and the processor."""
    settings = project_params.model.model_copy(update={"base": str(fresh_base)})
    base, processor = load_base(settings)
    return changed_adapter(base, project_params.adapter), processor


def generate_with(generator: Any, policy: tuple[Any, Any], params: Params) -> None:
    """Make the policy's rollouts come from this model, constrained by the grammar."""
    constrain_generation(generator, policy[1], params.two_turn_grpo)
    without_wrapper(policy[0]).generate = without_wrapper(generator).generate


def step(check: PolicyCheck, model: Any, change: float) -> None:
    """Change every trained weight, as an optimiser's step does, and end the step."""
    with torch.no_grad():
        for weight in (one for one in model.parameters() if one.requires_grad):
            weight.add_(change)
    check.on_step_end(None, None, None, model=model)


def started(model: Any) -> PolicyCheck:
    check = PolicyCheck()
    check.on_train_begin(None, None, None, model=model)
    return check


def test_a_generator_that_shares_the_trained_weights_passes(policy: tuple[Any, Any], project_params: Params) -> None:
    model, _ = policy
    generate_with(model, policy, project_params)
    check = started(model)
    step(check, model, 0.0)
    step(check, model, 0.001)


def test_a_copy_that_generates_is_found_after_the_first_real_step(
    policy: tuple[Any, Any], project_params: Params
) -> None:
    model, _ = policy
    generate_with(copy.deepcopy(model), policy, project_params)
    check = started(model)
    step(check, model, 0.0)  # all advantages were zero: nothing to compare yet
    with pytest.raises(CacError, match=r"is not the one that was updated: base_model.*has another value"):
        step(check, model, 0.001)


def test_a_merged_adapter_that_generates_is_found(policy: tuple[Any, Any], project_params: Params) -> None:
    model, _ = policy
    generate_with(copy.deepcopy(model).merge_and_unload(), policy, project_params)
    check = started(model)
    with pytest.raises(CacError, match="is missing in it"):
        step(check, model, 0.001)
