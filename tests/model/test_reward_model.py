import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.adapters import save_changed_adapter
from hypothesis import given
from hypothesis import strategies as st

from cac.errors import CacError
from cac.model.adapters import FORBIDDEN_TOKENS
from cac.model.calibration import Calibration
from cac.model.generation import Turn, TurnGenerator
from cac.model.loading import base_identity, load_base
from cac.model.package import PackageSettings, write_package
from cac.model.reward_model import RewardModel, log_odds, none_margin, none_token_id
from cac.params import Model, Params
from cac.video.decode import Video

CALIBRATION = Calibration(2.0, 0.3)


@pytest.fixture(scope="module")
def settings(fresh_base: Path) -> Model:
    return Model(base=str(fresh_base), revision=None, dtype="float32")


@pytest.fixture(scope="module")
def package(tmp_path_factory, settings: Model, project_params: Params) -> Path:
    folder = tmp_path_factory.mktemp("package")
    base, _ = load_base(settings)
    save_changed_adapter(base, project_params.adapter, folder / "adapter", base_identity(settings))
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


NONE, SEEN, OTHER = 7, 8, 9


def test_the_margin_is_the_chance_of_naming_nothing() -> None:
    p, q = math.log(0.9), math.log(0.4)
    assert none_margin([OTHER, NONE, OTHER, NONE], [None, p, None, q], NONE) == pytest.approx(math.log(0.36 / 0.64))
    named = none_margin([NONE, SEEN, NONE], [q, q, p], NONE)
    assert named == pytest.approx(math.log(0.16 / 0.84)), "what follows the first anomaly does not count"
    assert none_margin([NONE, OTHER], [None, None], NONE) == 0.0, "there was no choice"
    assert none_margin([NONE], [0.0], NONE) == 30.0


class Recorded(TurnGenerator):
    """A generator that keeps its turns."""

    def _generate(self, *args: Any, **options: Any) -> Turn:
        self.turns.append(super()._generate(*args, **options))
        return self.turns[-1]


@pytest.mark.parametrize("seed", range(3))
def test_no_forced_token_enters_the_score_of_an_untaught_model(
    seed: int, settings: Model, project_params: Params
) -> None:
    """A random model's margin is that of its choices between none and seen, each among the two allowed words."""
    base, processor = load_base(settings)
    torch.manual_seed(seed)
    for weight in base.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    one_look = project_params.frames.model_copy(update={"looks": 1})
    judge = RewardModel(base.eval(), processor, one_look, max_turn_tokens=200)
    judge.generator.__class__, judge.generator.turns = Recorded, []
    (judgement,) = judge.judge([noise(12, seed)])
    looked = judge.generator.turns[-1]
    tokenizer, (tokens,), (logs,) = processor.tokenizer, looked.answers, looked.watched
    words = [tokenizer.decode([token]) for token in tokens]
    chosen = [word for word, log in zip(words, logs, strict=True) if log is not None]
    assert set(chosen) <= {" none", " seen"}
    assert len(chosen) == len(judgement.findings), "one choice a frame, none in the closing line"
    first = next((i for i, word in enumerate(chosen) if word == " seen"), len(chosen) - 1)
    probabilities = np.exp([log for log in logs if log is not None][: first + 1])
    assert judgement.margin == pytest.approx(log_odds(float(np.log(probabilities).sum())))
    assert (probabilities[:first] >= 0.5).all(), "a greedy word is the likelier of the two"


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
