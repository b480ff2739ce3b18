"""The benchmark of the gradient's signal: its statistics, and that its parts add up to the gradient of GRPO."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.adapters import save_changed_adapter
from transformers import TrainerCallback

from benchmarks import reinforcement_signal as benchmark
from cac.errors import CacError
from cac.model.loading import base_identity, load_base, make_deterministic
from cac.params import Params
from cac.training.grpo.trainer import TwoTurnGRPOTrainer

pytestmark = pytest.mark.slow

PARTS, CLIPS = 3, 3


def test_with_the_reported_number_of_rollouts_half_of_a_gradient_is_signal() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(4000, generator=generator)
    parts = true + 3 * torch.randn(200, 4000, generator=generator)  # nine times as much noise as signal
    needed = benchmark.signal(parts).rollouts_needed(of_a_part=64)
    assert needed == pytest.approx(9 * 64, rel=0.05)
    means = parts[: 9 * 22].view(22, 9, -1).mean(dim=1)
    assert torch.cosine_similarity(means, true[None]).square().mean() == pytest.approx(0.5, abs=0.02)


def test_pure_noise_has_no_signal_and_equal_parts_are_all_signal() -> None:
    noise = torch.randn(6, 4000, generator=torch.Generator().manual_seed(1))
    assert benchmark.signal(noise).rollouts_needed(64) is None
    equal = benchmark.signal(noise[:1].repeat(6, 1))
    assert equal.cosine == pytest.approx(1)
    assert equal.rollouts_needed(64) == pytest.approx(0, abs=1e-6)


@pytest.fixture(scope="module")
def params(project_params: Params) -> Params:
    """The project's settings with few rollouts, of any training clip."""
    grpo = {"num_generations": 4, "batch_size": 4, "max_grad_norm": 1e9, "temperature": 1.0}
    return project_params.model_copy(
        update={
            "compute": project_params.compute.model_copy(update={"threads": 1}),
            "train_partition": project_params.train_partition.model_copy(update={"reinforcement_ratio": 0.0}),
            "two_turn_grpo": project_params.two_turn_grpo.model_copy(update=grpo),
        }
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, small_dataset: Path, params: Params) -> Path:
    """A project with data and a checkpoint."""
    folder = tmp_path_factory.mktemp("signal")
    (folder / "data").symlink_to(small_dataset)
    make_deterministic(params.compute)
    model, _ = load_base(params.model)
    save_changed_adapter(model, params.adapter, folder / "checkpoint", base_identity(params.model))
    return folder


class _Gradients(TrainerCallback):
    """Records the gradient of each optimiser step."""

    def __init__(self) -> None:
        self.noted: list[torch.Tensor] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.noted.append(torch.cat([parameter.grad.flatten().clone() for parameter in learned]))


def trained_gradients(params: Params, root: Path, out: Path) -> torch.Tensor:
    """Return the gradients of the stage's own trainer, a row a step, also with learning rate 0."""
    trainer = benchmark.frozen_trainer(root / "checkpoint", params, root, PARTS, CLIPS, out, TwoTurnGRPOTrainer)
    gradients = _Gradients()
    trainer.add_callback(gradients)
    trainer.train()
    return torch.stack(gradients.noted)


def test_the_credits_add_up_to_the_gradient_of_the_stage(params: Params, root: Path, tmp_path: Path) -> None:
    apart = benchmark.measure(root / "checkpoint", params, root, PARTS, CLIPS)
    assert {turn for turn, _ in apart} == {"scan", "look"}
    together = benchmark.by_turn(apart, params)
    torch.testing.assert_close(together, trained_gradients(params, root, tmp_path), rtol=1e-3, atol=1e-6)
    assert together.any(dim=1).sum() >= 2, "the rollouts of some parts earn different rewards"


def test_too_few_clips_are_an_error_with_their_number(params: Params, root: Path) -> None:
    with pytest.raises(CacError, match=r"3 parts of 100 clips are 300, but only \d+ are reserved for GRPO"):
        benchmark.measure(root / "checkpoint", params, root, 3, 100)
