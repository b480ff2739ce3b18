"""Thirty and more ways to hand over a wrong adapter or package: none loads, and the message names the fault."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.adapters import save_changed_adapter
from safetensors.torch import load_file, save_file

from cac.errors import CacError
from cac.model.adapters import load_adapter
from cac.model.calibration import Calibration
from cac.model.loading import base_identity, load_base
from cac.model.package import PackageSettings, read_package, write_package
from cac.model.package_checksums import check_sums, sums_digest
from cac.params import Model, Params

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def settings(fresh_base: Path) -> Model:
    return Model(base=str(fresh_base), revision=None, dtype="float32")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, settings: Model, project_params: Params) -> Path:
    folder = tmp_path_factory.mktemp("good") / "adapter"
    save_changed_adapter(load_base(settings)[0], project_params.adapter, folder, base_identity(settings))
    return folder


def load(folder: Path, settings: Model, params: Params) -> Any:
    return load_adapter(load_base(settings)[0], folder, base_identity(settings), params.adapter, trainable=True)


def first(weights: Weights, part: str) -> str:
    return next(name for name in weights if part in name)


def renamed(weights: Weights, old: str, new: str) -> Weights:
    return {name.replace(old, new): weight for name, weight in weights.items()}


def changed(weights: Weights, part: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Weights:
    name = first(weights, part)
    return {**weights, name: change(weights[name]).contiguous()}


def with_value(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(weight: torch.Tensor) -> torch.Tensor:
        weight = weight.clone()
        weight[0, 0] = value
        return weight

    return change


WRONG_WEIGHTS: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "renamed modules": (lambda w: renamed(w, "q_proj", "query"), "weights are missing.*belong to no module"),
    "without PEFT's prefix": (lambda w: renamed(w, "base_model.model.", ""), "weights are missing"),
    "with the adapter's name": (lambda w: renamed(w, "lora_A.weight", "lora_A.default.weight"), "weights are missing"),
    "other case": (lambda w: renamed(w, "lora_A", "lora_a"), "weights are missing"),
    "A and B exchanged": (lambda w: renamed(renamed(w, "lora_A", "lora_X"), "lora_B", "lora_A"), "weights are missing"),
    "one weight": (lambda w: dict(list(w.items())[:1]), "weights are missing"),
    "half the weights": (lambda w: dict(list(w.items())[::2]), "weights are missing"),
    "only A": (lambda w: {k: v for k, v in w.items() if "lora_A" in k}, "weights are missing"),
    "all but one": (lambda w: dict(list(w.items())[1:]), "1 of .* weights are missing"),
    "one more": (lambda w: {**w, "base_model.model.extra.lora_A.weight": torch.ones(2, 2)}, "belong to no module"),
    "no weights": (lambda w: {}, "holds no weights"),
    "transposed": (lambda w: changed(w, "lora_A", lambda t: t.T), r"has shape \["),
    "another rank": (lambda w: {k: v[:1] if "lora_A" in k else v[:, :1].contiguous() for k, v in w.items()}, "shape"),
    "flattened": (lambda w: changed(w, "lora_B", torch.flatten), "has shape"),
    "NaN": (lambda w: changed(w, "lora_B", with_value(float("nan"))), "NaN or infinite values in base_model"),
    "infinite": (lambda w: changed(w, "lora_A", with_value(float("inf"))), "NaN or infinite"),
    "all zero": (lambda w: {k: torch.zeros_like(v) for k, v in w.items()}, "only zeros"),
    "never trained": (lambda w: {k: v * ("lora_A" in k) for k, v in w.items()}, "never trained"),
    "one A of zeros": (lambda w: changed(w, "lora_A", torch.zeros_like), "only zeros in base_model"),
    "integers": (lambda w: changed(w, "lora_B", lambda t: t.to(torch.int32)), "no floating-point numbers"),
}


@pytest.mark.parametrize("case", WRONG_WEIGHTS)
def test_wrong_weights_are_refused(
    case: str, good: Path, settings: Model, project_params: Params, tmp_path: Path
) -> None:
    change, message = WRONG_WEIGHTS[case]
    folder = tmp_path / "adapter"
    shutil.copytree(good, folder)
    save_file(change(load_file(folder / "adapter_model.safetensors")), folder / "adapter_model.safetensors")
    with pytest.raises(CacError, match=message):
        load(folder, settings, project_params)


WRONG_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "other modules": ({"target_modules": ["q_proj"]}, "has target_modules .*but params.yaml has"),
    "other rank": ({"r": 3}, "has r 3"),
    "other alpha": ({"lora_alpha": 999}, "has lora_alpha 999"),
    "alpha of one module": ({"alpha_pattern": {"q_proj": 1}}, "has alpha_pattern"),
    "rank of one module": ({"rank_pattern": {"q_proj": 1}}, "has rank_pattern"),
    "rank-stabilised": ({"use_rslora": True}, "has use_rslora True"),
    "DoRA": ({"use_dora": True}, "has use_dora True"),
    "layers": ({"layers_to_transform": [0]}, "has layers_to_transform"),
    "whole modules": ({"modules_to_save": ["lm_head"]}, "has modules_to_save"),
    "biases": ({"bias": "all"}, "has bias 'all'"),
    "another method": ({"peft_type": "IA3"}, "has peft_type 'IA3'"),
    "another base": ({"base_model_name_or_path": "other-0123"}, "was trained on base 'other-0123'"),
    "no base": ({"base_model_name_or_path": None}, "was trained on base None"),
    "an unknown setting": ({"use_future": 1}, "does not know: .*use_future"),
}


@pytest.mark.parametrize("case", WRONG_CONFIGS)
def test_wrong_settings_are_refused(
    case: str, good: Path, settings: Model, project_params: Params, tmp_path: Path
) -> None:
    change, message = WRONG_CONFIGS[case]
    folder = tmp_path / "adapter"
    shutil.copytree(good, folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CacError, match=message):
        load(folder, settings, project_params)


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


WRONG_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "adapter_config.json").unlink(), "no adapter_config.json"),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "has no adapter_model.safetensors"),
    "a pickle": (
        lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"),
        "weights in another format are not read",
    ),
    "truncated weights": (lambda f: _truncate(f / "adapter_model.safetensors"), "cannot be read"),
    "empty weights": (lambda f: (f / "adapter_model.safetensors").write_bytes(b""), "cannot be read"),
    "no safetensors": (lambda f: (f / "adapter_model.safetensors").write_bytes(b"\x80\x04K\x01."), "cannot be read"),
    "truncated config": (lambda f: _truncate(f / "adapter_config.json"), "is not valid JSON"),
    "a list": (lambda f: (f / "adapter_config.json").write_text("[]"), "no JSON object"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_damaged_files_are_refused(
    case: str, good: Path, settings: Model, project_params: Params, tmp_path: Path
) -> None:
    change, message = WRONG_FILES[case]
    folder = tmp_path / "adapter"
    shutil.copytree(good, folder)
    change(folder)
    with pytest.raises(CacError, match=message):
        load(folder, settings, project_params)


@pytest.fixture(scope="module")
def package(good: Path, settings: Model, project_params: Params) -> Path:
    packed = PackageSettings(settings, project_params.frames, Calibration(2.0, 0.3), 12)
    write_package(good.parent / "package", good, packed)
    return good.parent / "package"


def _flip_last_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


WRONG_PACKAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "one bit of the adapter": (
        lambda p: _flip_last_byte(p / "adapter/adapter_model.safetensors"),
        "adapter/adapter_model.safetensors was changed",
    ),
    "one bit of the base": (
        lambda p: _flip_last_byte(p / "base/model.safetensors"),
        "base/model.safetensors was changed",
    ),
    "truncated base": (lambda p: _truncate(p / "base/model.safetensors"), "base/model.safetensors was changed"),
    "another tokenizer": (lambda p: _flip_last_byte(p / "base/tokenizer.json"), "base/tokenizer.json was changed"),
    "another calibration": (lambda p: _edit(p / "reward_model.json", "0.3", "0.9"), "reward_model.json was changed"),
    "an added file": (lambda p: (p / "base/extra.py").write_text("1"), "base/extra.py was added"),
    "a missing file": (lambda p: (p / "base/tokenizer_config.json").unlink(), "tokenizer_config.json is missing"),
    "no sums": (lambda p: (p / "SHA256SUMS").unlink(), "no SHA256SUMS"),
    "a line too few": (
        lambda p: (p / "SHA256SUMS").write_text("\n".join((p / "SHA256SUMS").read_text().splitlines()[1:])),
        "adapter/adapter_config.json was added",
    ),
    "a broken line": (lambda p: (p / "SHA256SUMS").write_text("no sum"), "no SHA-256 with a name"),
    "a truncated card": (lambda p: _truncate(p / "reward_model.json"), "not valid JSON"),
    "an empty card": (lambda p: (p / "reward_model.json").write_text("{}"), "lacks base"),
}


@pytest.mark.parametrize("case", WRONG_PACKAGES)
def test_a_damaged_package_is_refused(case: str, package: Path, tmp_path: Path) -> None:
    change, message = WRONG_PACKAGES[case]
    folder = tmp_path / "package"
    shutil.copytree(package, folder)
    change(folder)
    with pytest.raises(CacError, match=message):
        read_package(folder)


def test_a_package_whose_sums_were_written_again_is_not_the_registered_one(package: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(package, model / "artifacts/package")
    (model / "MLmodel").write_text(json.dumps({"metadata": {"package_sha256sums": sums_digest(package)}}))
    read_package(model / "artifacts/package")
    (model / "MLmodel").write_text(json.dumps({"metadata": {"package_sha256sums": "0" * 64}}))
    with pytest.raises(CacError, match="not the one that was registered with this version"):
        read_package(model / "artifacts/package")


def test_an_older_package_with_another_base_is_refused(package: Path, tmp_path: Path) -> None:
    """Packages of version 1 have no sums; their base is checked against the card."""
    folder = tmp_path / "package"
    shutil.copytree(package, folder)
    (folder / "SHA256SUMS").unlink()
    card = json.loads((folder / "reward_model.json").read_text())
    card.pop("package_version")
    (folder / "reward_model.json").write_text(json.dumps(card))
    read_package(folder)
    _flip_last_byte(folder / "base/model.safetensors")
    with pytest.raises(CacError, match=r"has the weights .* but its card names"):
        read_package(folder)


def test_a_good_package_passes_and_coreutils_agrees(package: Path) -> None:
    import subprocess

    check_sums(package)
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=package, check=True)
