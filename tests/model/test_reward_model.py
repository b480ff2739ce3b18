import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cac.errors import CacError
from cac.model.adapters import FORBIDDEN_TOKENS, new_adapter, save_adapter
from cac.model.calibration import Calibration
from cac.model.loading import base_identity, load_base
from cac.model.package import PackageSettings, write_package
from cac.model.reward_model import RewardModel, _read_answer, log_odds, none_token_id
from cac.params import Model, Params
from cac.video.decode import Video

CALIBRATION = Calibration(2.0, 0.3)


@pytest.fixture(scope="module")
def settings(fresh_base: Path) -> Model:
    return Model(base=str(fresh_base), revision=None, dtype="float32")


@pytest.fixture(scope="module")
def package(tmp_path_factory, settings: Model, project_params: Params) -> Path:
    folder = tmp_path_factory.mktemp("package")
    save_adapter(
        new_adapter(load_base(settings)[0], project_params.adapter), folder / "adapter", base_identity(settings)
    )
    packed = PackageSettings(settings, project_params.frames, CALIBRATION, 12)
    write_package(folder / "package", folder / "adapter", packed)
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
    assert model.score(judgement) == CALIBRATION.score(0.0)
    assert not any(token in judgement.scan_text for token in FORBIDDEN_TOKENS)


def answer_of(tokenizer, text: str, none_probability: float):
    row = tokenizer(text, add_special_tokens=False)["input_ids"]
    return _read_answer(tokenizer, none_token_id(tokenizer), row, [math.log(none_probability)] * len(row), unaided=True)


def test_the_margin_is_the_chance_of_naming_nothing(package: Path) -> None:
    tokenizer = RewardModel.from_package(package).processor.tokenizer
    clean = "0.5 none\n0.6 none\nattribution none verdict clean"
    answer = answer_of(tokenizer, clean, 0.9)
    assert answer.text == clean
    assert answer.margin == pytest.approx(log_odds(3 * math.log(0.9)))  # two frames and the attribution
    named = answer_of(tokenizer, "0.5 none\n0.6 vanishing 1 2 30 40\n0.7 none\nattribution none", 0.4)
    assert named.margin == pytest.approx(math.log(0.16 / 0.84)), "what follows the first anomaly does not count"
    assert answer_of(tokenizer, "none of it", 0.4).margin == 0.0
    assert answer_of(tokenizer, clean, 1.0).margin == 30.0


def test_none_begins_no_anomaly(package: Path) -> None:
    tokenizer = RewardModel.from_package(package).processor.tokenizer
    assert tokenizer.decode([none_token_id(tokenizer)]) == " none"


@given(st.floats(-700, -1e-9))
def test_log_odds_undo_the_logistic_function(log: float) -> None:
    odds = log_odds(log)
    assert -30 <= odds <= 30
    if abs(odds) < 20:
        assert 1 / (1 + math.exp(-odds)) == pytest.approx(math.exp(log), rel=1e-6)


def test_a_folder_that_is_not_a_package_is_an_error(package: Path, tmp_path: Path) -> None:
    with pytest.raises(CacError, match="is not a reward model package"):
        RewardModel.from_package(tmp_path)
    with pytest.raises(CacError, match="packages are never overwritten"):
        write_package(package, package / "adapter", None)  # type: ignore[arg-type]
