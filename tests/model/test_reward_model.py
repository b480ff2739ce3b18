from pathlib import Path

import numpy as np
import pytest

from cac.errors import CacError
from cac.model.adapters import new_adapter, save_adapter
from cac.model.loading import base_identity, load_base
from cac.model.package import PackageSettings, write_package
from cac.model.reward_model import FORBIDDEN_TOKENS, RewardModel, _read_answer, verdict_token_ids
from cac.params import Model, Params
from cac.video import Video


@pytest.fixture(scope="module")
def settings(fresh_base: Path) -> Model:
    return Model(base=str(fresh_base), revision=None, dtype="float32")


@pytest.fixture(scope="module")
def package(tmp_path_factory, settings: Model, project_params: Params) -> Path:
    folder = tmp_path_factory.mktemp("package")
    save_adapter(
        new_adapter(load_base(settings)[0], project_params.adapter), folder / "adapter", base_identity(settings)
    )
    write_package(folder / "package", folder / "adapter", PackageSettings(settings, project_params.frames, 2.0, 12))
    return folder / "package"


def noise(frames: int, seed: int = 0) -> Video:
    pixels = np.random.default_rng(seed).integers(0, 255, (frames, 48, 64, 3), dtype=np.uint8)
    return Video(pixels, 8.0)


def test_a_package_judges_the_same_in_any_batch(package: Path) -> None:
    videos = [noise(20), noise(9, 1), noise(1, 2)]
    model = RewardModel.from_package(package)
    judged = model.judge(videos, batch_size=2)
    assert judged == RewardModel.from_package(package).judge(videos, batch_size=2)
    assert [j.scan_text for j in judged] == [model.judge([video])[0].scan_text for video in videos]
    assert [j.frames_seen for j in judged] == [8, 8, 1]  # the scan was not readable, so there was no second look


def test_an_unreadable_answer_abstains(package: Path) -> None:
    model = RewardModel.from_package(package)
    (judgement,) = model.judge([noise(12)])
    assert not judgement.parsed
    assert (judgement.margin, judgement.verdict, judgement.windows) == (0.0, "clean", ())
    assert model.score(judgement) == 0.5
    assert not any(token in judgement.scan_text for token in FORBIDDEN_TOKENS)


def test_the_margin_is_read_at_the_verdict(package: Path) -> None:
    tokenizer = RewardModel.from_package(package).processor.tokenizer
    text = "0.5 none\nattribution none\nverdict clean<|im_end|>"
    row = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.pad_token_id]
    margins = [float(i) for i in range(len(row))]
    answer = _read_answer(tokenizer, row, margins, verdict_token_ids(tokenizer))
    assert answer.text == text.removesuffix("<|im_end|>")
    assert answer.margin == len(row) - 3  # the verdict's word, before the end token and the padding


def test_what_is_no_package_is_refused(package: Path, tmp_path: Path) -> None:
    with pytest.raises(CacError, match="is no reward model package"):
        RewardModel.from_package(tmp_path)
    with pytest.raises(CacError, match="never written over another"):
        write_package(package, package / "adapter", None)  # type: ignore[arg-type]
