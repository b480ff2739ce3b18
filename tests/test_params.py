"""The settings file: the repository's own loads, and every mistake in one is named by its key."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cac.errors import CacError
from cac.params import load_params

PARAMS = Path(__file__).parents[1] / "params.yaml"
Values = dict[str, Any]
Change = Callable[[Values], object]


def load_changed(tmp_path: Path, change: Change) -> object:
    """Load the repository's settings after `change` has spoilt them."""
    values = yaml.safe_load(PARAMS.read_text())
    change(values)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    return load_params(tmp_path / "params.yaml")


def test_the_repositorys_settings_load() -> None:
    params = load_params(PARAMS)

    assert params.model_dump() == yaml.safe_load(PARAMS.read_text())
    assert isinstance(params.adapter.lora_dropout, float)


def test_whole_numbers_are_taken_for_decimals(tmp_path: Path) -> None:
    params = load_changed(tmp_path, lambda v: v["adapter"].update(lora_dropout=0))

    assert params.adapter.lora_dropout == 0.0  # type: ignore[attr-defined]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_params(PARAMS).compute.seed = 8


def test_an_adapter_added_to_the_weights_has_no_dropout(tmp_path: Path) -> None:
    with pytest.raises(CacError, match=r"adapter: .*dropout must be 0 with lora_forward: merged"):
        load_changed(tmp_path, lambda v: v["adapter"].update(lora_dropout=0.1, lora_forward="merged"))
    load_changed(tmp_path, lambda v: v["adapter"].update(lora_dropout=0.1, lora_forward="separate"))
    with pytest.raises(CacError, match=r"model.dtype must be float32 with adapter.lora_forward: merged"):
        load_changed(tmp_path, lambda v: v["model"].update(dtype="bfloat16"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda v: v.update(coputer={}), "coputer: unknown key; allowed here: compute, procedural_data,"),
        (
            lambda v: v["compute"].update(sed=7),
            "compute.sed: unknown key; allowed here: seed, threads, accelerate, gradient_checkpointing",
        ),
        (
            lambda v: v["two_turn_grpo"]["reward_weights"].update(acuracy=1.0),
            "two_turn_grpo.reward_weights.acuracy: unknown key; allowed here: accuracy, scan, temporal_iou,",
        ),
        (lambda v: v["registry"]["gate"].update(x=1), "registry.gate.x: unknown key; allowed here: min_balanced"),
    ],
)
def test_an_unknown_key_is_named_with_those_there_are(tmp_path: Path, change: Change, expected: str) -> None:
    with pytest.raises(CacError) as caught:
        load_changed(tmp_path, change)

    assert expected in str(caught.value)
    assert str(tmp_path / "params.yaml") in str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("compute", "seed", -1),
        ("compute", "seed", "7"),
        ("compute", "seed", 7.5),
        ("compute", "threads", True),
        ("compute", "threads", 0),
        ("compute", "threads", None),
        ("procedural_data", "val_ratio", 1.5),
        ("procedural_data", "size", 16),
        ("validation", "max_side", 0),
        ("validation", "near_duplicate_distance", 1.5),
        ("validation", "min_agreement", -0.1),
        ("validation", "max_drift", "a tenth"),
        ("validation", "reference", 7),
        ("frames", "coarse_count", 8.0),
        ("model", "dtype", "float16"),
        ("model", "revision", 3),
        ("adapter", "target_modules", "*_proj"),
        ("adapter", "r", [64]),
        ("single_frame_sft", "learning_rate", 0),
        ("single_frame_sft", "learning_rate", float("nan")),
        ("single_frame_sft", "learning_rate", float("inf")),
        ("multi_frame_sft", "weight_decay", -0.1),
        ("two_turn_grpo", "num_generations", 1),
        ("two_turn_grpo", "scale_rewards", "all"),
        ("two_turn_grpo", "false_alarm_reward", 0.2),
        ("evaluation", "batch_size", "many"),
    ],
)
def test_an_impossible_value_is_named_by_its_key(tmp_path: Path, section: str, key: str, value: object) -> None:
    with pytest.raises(CacError, match=rf"params\.yaml: {section}\.{key}: "):
        load_changed(tmp_path, lambda v: v[section].update({key: value}))


def test_a_nested_impossible_value_is_named_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(CacError, match=r"two_turn_grpo\.reward_weights\.format: .*found -1"):
        load_changed(tmp_path, lambda v: v["two_turn_grpo"]["reward_weights"].update(format=-1))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda v: v["procedural_data"].update(max_frames=8), "procedural_data: .*max_frames"),
        (lambda v: v["procedural_data"].update(val_ratio=0.9), "procedural_data: .*val_ratio"),
        (
            lambda v: v["two_turn_grpo"].update(reward_weights=dict.fromkeys(v["two_turn_grpo"]["reward_weights"], 0)),
            "two_turn_grpo: .*reward_weights",
        ),
        (lambda v: v["two_turn_grpo"].update(batch_size=24), "two_turn_grpo: .*batch_size must divide .* is 64"),
    ],
)
def test_values_that_do_not_go_together_are_refused(tmp_path: Path, change: Change, expected: str) -> None:
    with pytest.raises(CacError, match=expected):
        load_changed(tmp_path, change)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    def spoil(values: Values) -> None:
        del values["compute"]
        del values["registry"]["gate"]["min_parse_rate"]
        values["frames"]["dense_size"] = "80"

    with pytest.raises(CacError) as caught:
        load_changed(tmp_path, spoil)

    for key in ("compute: ", "registry.gate.min_parse_rate: ", "frames.dense_size: "):
        assert key in str(caught.value)


def test_a_number_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"(two_turn_grpo:[^#]*?learning_rate: )\S+", r"\g<1>1e-4", PARAMS.read_text()))

    assert load_params(path).two_turn_grpo.learning_rate == 0.0001


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [
        ("procedural_data", "val_share", "val_ratio"),
        ("validation", "min_clean_share", "min_clean_ratio"),
        ("adapter", "rank", "r"),
        ("multi_frame_sft", "steps", "max_steps"),
        ("two_turn_grpo", "generations", "num_generations"),
        ("two_turn_grpo", "rejection", "rejection_sampling"),
        ("monitoring", "place", "source"),
    ],
)
def test_an_old_name_is_an_error_that_gives_the_new_one(tmp_path: Path, section: str, old: str, new: str) -> None:
    with pytest.raises(CacError, match=rf"{section}\.{old}: renamed; write {new}"):
        load_changed(tmp_path, lambda values: values[section].update({old: values[section].pop(new)}))
    with pytest.raises(CacError, match="portions: renamed; write train_partition"):
        load_changed(tmp_path, lambda values: values.update(portions=values.pop("train_partition")))


def test_the_new_name_of_another_section_is_not_offered(tmp_path: Path) -> None:
    with pytest.raises(CacError, match=r"compute\.steps: unknown key; allowed here: seed"):
        load_changed(tmp_path, lambda values: values["compute"].update(steps=3))


@pytest.mark.parametrize(
    "content", [b"", b"- a\n- b\n", b"seven", b"compute: [1, 2", b"compute: {seed: 7\n", b"\xff\xfe\x00", b"a: \xff"]
)
def test_a_file_that_holds_no_settings_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "params.yaml").write_bytes(content)

    with pytest.raises(CacError, match=r"params\.yaml"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("change", [lambda v: v.pop("train_partition"), lambda v: v["train_partition"].clear()])
def test_a_missing_key_is_named_in_one_short_line(tmp_path: Path, change: Change) -> None:
    with pytest.raises(CacError, match=r"params\.yaml: train_partition(\.reinforcement_ratio)?: missing") as caught:
        load_changed(tmp_path, change)
    assert len(str(caught.value)) < 400


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CacError, match=r"no settings at .*absent\.yaml"):
        load_params(tmp_path / "absent.yaml")


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS.read_text().replace("  seed: 7\n", "  seed: 7\n  seed: 8\n"))
    with pytest.raises(CacError, match='duplicate key "seed"'):
        load_params(file)
