"""The three stages really train: small, but with TRL's trainers, real clips, and a base of random weights."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers.scripted import script_rollouts
from safetensors.torch import load_file

from cac.errors import CacError
from cac.model.adapters import load_adapter
from cac.model.loading import base_identity, load_base
from cac.params import Params
from cac.training import checkpoints, multi_frame_sft, single_frame_sft, two_turn_grpo
from cac.training.trainer_arguments import TrainerInputs

pytestmark = pytest.mark.slow

STEPS = 6


@pytest.fixture(scope="module")
def params(project_params: Params, fresh_base: Path) -> Params:
    """The project's settings, cut down to a few small steps."""
    short = {"max_steps": STEPS, "batch_size": 4, "save_steps": 2, "logging_steps": 1}
    frames = {"coarse_count": 3, "coarse_size": 32, "dense_count": 2, "dense_size": 32}
    grpo = {
        "rejection_sampling": project_params.two_turn_grpo.rejection_sampling.model_copy(update={"clips": 0}),
        "max_steps": 2,
        "prompts_per_step": 2,
        "num_generations": 2,
        "batch_size": 2,
        "max_turn_tokens": 12,
        "learning_rate": 0.01,
    }
    return project_params.model_copy(
        update={
            "compute": project_params.compute.model_copy(update={"threads": 1}),
            "model": project_params.model.model_copy(update={"base": str(fresh_base)}),
            "frames": project_params.frames.model_copy(update=frames),
            "adapter": project_params.adapter.model_copy(update={"r": 8}),
            "single_frame_sft": project_params.single_frame_sft.model_copy(update={**short, "train_vision": True}),
            "multi_frame_sft": project_params.multi_frame_sft.model_copy(update=short),
            "two_turn_grpo": project_params.two_turn_grpo.model_copy(update=grpo),
        }
    )


def project(root: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project folder with data and its own MLflow store."""
    root.mkdir()
    (root / "data").symlink_to(dataset)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
    monkeypatch.chdir(root)
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small_dataset: Path, params: Params) -> Path:
    """A project whose two supervised stages have run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        root = project(tmp_path_factory.mktemp("trained") / "root", small_dataset, monkeypatch)
        single_frame_sft.train(params, root)
        multi_frame_sft.train(params, root)
    return root


def weights(root: Path, stage: str) -> dict[str, torch.Tensor]:
    return load_file(root / "models" / stage / "adapter_model.safetensors")


def history(root: Path, stage: str) -> list[dict[str, float]]:
    return json.loads((root / "metrics" / f"{stage}.json").read_text())


def test_the_adapter_changes_and_the_loss_falls(trained: Path) -> None:
    for stage in ("single_frame_sft", "multi_frame_sft"):
        assert any(value.abs().max() > 0 for name, value in weights(trained, stage).items() if "lora_B" in name)
        losses = [row["loss"] for row in history(trained, stage)]
        assert len(losses) == STEPS
    first = [row["loss"] for row in history(trained, "single_frame_sft")]
    assert first[-1] < first[0] - 0.5


def test_stage_two_starts_where_stage_one_ended(trained: Path, params: Params, tmp_path: Path, monkeypatch) -> None:
    root = project(tmp_path / "root", trained / "data", monkeypatch)
    (root / "models").mkdir()
    shutil.copytree(trained / "models" / "single_frame_sft", root / "models" / "single_frame_sft")
    still = params.multi_frame_sft.model_copy(update={"max_steps": 1, "learning_rate": 1e-12})
    multi_frame_sft.train(params.model_copy(update={"multi_frame_sft": still}), root)
    before, after = weights(root, "single_frame_sft"), weights(root, "multi_frame_sft")
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-9) for name in before)


def test_stage_two_does_not_change_the_vision_tower(trained: Path) -> None:
    before, after = weights(trained, "single_frame_sft"), weights(trained, "multi_frame_sft")
    seeing = {name for name in before if "visual" in name}
    assert any(before[name].abs().max() > 0 for name in seeing if "lora_B" in name), "stage 1 trains it"
    assert all(torch.equal(before[name], after[name]) for name in seeing)
    assert not all(torch.equal(before[name], after[name]) for name in before.keys() - seeing)


def test_training_again_gives_the_same_bytes(trained: Path, params: Params, tmp_path: Path, monkeypatch) -> None:
    root = project(tmp_path / "elsewhere", trained / "data", monkeypatch)
    single_frame_sft.train(params, root)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        place = Path("models") / "single_frame_sft" / name
        assert (root / place).read_bytes() == (trained / place).read_bytes()
    assert history(root, "single_frame_sft") == history(trained, "single_frame_sft")


def test_an_interrupted_stage_resumes_to_the_same_result(
    trained: Path, params: Params, tmp_path: Path, monkeypatch
) -> None:
    from transformers import Trainer

    root = project(tmp_path / "root", trained / "data", monkeypatch)
    step = Trainer.training_step
    done = []

    def interrupted(self, *args, **kwargs):
        done.append(1)
        if len(done) == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        single_frame_sft.train(params, root)
    assert not (root / "models").exists()
    single_frame_sft.train(params, root)
    assert len(done) == 4 + STEPS - 2  # three steps and the fatal one; then on from the checkpoint of step 2
    straight, resumed = weights(trained, "single_frame_sft"), weights(root, "single_frame_sft")
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert history(root, "single_frame_sft") == history(trained, "single_frame_sft")
    assert not (root / checkpoints.CHECKPOINTS / "single_frame_sft").exists()


def test_grpo_sees_the_second_turns_images_and_moves_the_adapter(
    trained: Path, params: Params, tmp_path: Path, monkeypatch
) -> None:
    """A scripted policy calls the tool, so that the real second turn runs; the trainer must feed its images back."""
    root = project(tmp_path / "root", trained / "data", monkeypatch)
    shutil.copytree(trained / "models", root / "models")
    base, processor = load_base(params.model)
    adapter = root / "models" / "multi_frame_sft"
    model = load_adapter(base, adapter, base_identity(params.model), params.adapter, trainable=True)
    trainer = two_turn_grpo.build_trainer(params, root, TrainerInputs(model, processor, tmp_path / "checkpoints"))
    before = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
    seen = script_rollouts(trainer, processor.tokenizer)
    trainer.train()
    moved = [name for name, value in model.named_parameters() if name in before and not value.equal(before[name])]
    assert moved
    frames = params.frames
    assert seen == {2 * 2 * (frames.coarse_count + frames.dense_count)}
    row = next(row for row in trainer.state.log_history if "reward" in row)
    assert row["tools/call_frequency"] == 1
    assert row["tools/failure_frequency"] == 0


def test_stage_three_starts_from_its_own_best_rollouts(trained: Path, params: Params, tmp_path: Path, monkeypatch):
    root = project(tmp_path / "root", trained / "data", monkeypatch)
    shutil.copytree(trained / "models", root / "models")
    drawn = {"clips": 6, "scans": 4, "tries": 2, "looks": 4, "rollouts_at_once": 24}
    learned = {"batch_size": 2, "learning_rate": 0.01, "logging_steps": 1}
    update = {
        "rejection_sampling": params.two_turn_grpo.rejection_sampling.model_copy(update={**drawn, **learned}),
        "max_turn_tokens": 100,
        "learning_rate": 1e-12,
    }
    settings = params.two_turn_grpo.model_copy(update=update)
    two_turn_grpo.train(params.model_copy(update={"two_turn_grpo": settings}), root)
    before, after = weights(root, "multi_frame_sft"), weights(root, "two_turn_grpo")
    moved = max((after[name] - before[name]).abs().max() for name in before)
    assert moved > 1e-3, "GRPO's own rate moves nothing"
    assert history(root, "rejection_sampling")
    assert not any((root / checkpoints.CHECKPOINTS).iterdir())


@pytest.mark.parametrize("constrained_decoding", [True, False])
def test_grpo_runs_as_a_stage(
    constrained_decoding: bool, trained: Path, params: Params, tmp_path: Path, monkeypatch
) -> None:
    """The base has random weights: constrained, every rollout calls the tool; unconstrained, none does."""
    root = project(tmp_path / "root", trained / "data", monkeypatch)
    shutil.copytree(trained / "models", root / "models")
    update = {"constrained_decoding": constrained_decoding, "max_turn_tokens": 60 if constrained_decoding else 12}
    settings = params.two_turn_grpo.model_copy(update=update)
    two_turn_grpo.train(params.model_copy(update={"two_turn_grpo": settings}), root)
    assert (root / "models" / "two_turn_grpo" / "adapter_model.safetensors").is_file()
    rows = [row for row in history(root, "two_turn_grpo") if "reward" in row]
    assert len(rows) == settings.max_steps
    assert all(row["learning_rate"] > 0 for row in rows), "no rollouts are made for nothing"
    row = rows[0]
    assert {"reward", "frac_reward_zero_std", "monitor/parse_rate"} <= set(row)
    assert row["tools/call_frequency"] == (1 if constrained_decoding else 0)


def test_a_missing_previous_stage_is_named(params: Params, small_dataset: Path, tmp_path: Path, monkeypatch) -> None:
    root = project(tmp_path / "root", small_dataset, monkeypatch)
    with pytest.raises(CacError, match=r"no adapter at .*single_frame_sft"):
        multi_frame_sft.train(params, root)
    with pytest.raises(CacError, match=r"no adapter at .*multi_frame_sft"):
        two_turn_grpo.train(params, root)


def test_each_stage_trains_on_its_own_part_of_the_train_split(
    trained: Path, params: Params, tmp_path: Path, monkeypatch
) -> None:
    root = project(tmp_path / "root", trained / "data", monkeypatch)
    shutil.copytree(trained / "models", root / "models")
    for share, train, purpose in (
        (1.0, single_frame_sft.train, "supervised learning"),
        (1.0, multi_frame_sft.train, "supervised learning"),
        (1e-9, two_turn_grpo.train, "reinforcement"),
    ):
        partition = params.train_partition.model_copy(update={"reinforcement_ratio": share})
        with pytest.raises(CacError, match=f"leaves no train clip for {purpose}"):
            train(params.model_copy(update={"train_partition": partition}), root)
