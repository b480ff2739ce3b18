"""A clip unlike those of the calibration is marked, with the reason; one like them is not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cac.errors import CacError
from cac.model.calibration import Calibration
from cac.model.familiarity import Familiarity, Traits, fit_familiarity
from cac.model.loading import load_base
from cac.model.reward_model import RewardModel
from cac.params import Params
from cac.schema.annotations import read_clips
from cac.video.clip_store import ClipStore
from cac.video.decode import Video

RANDOM = np.random.default_rng(0)


def like_calibration(side: float = 96.0) -> Traits:
    return Traits({"longest_side": side, "motion": RANDOM.uniform(0.1, 0.3)}, RANDOM.normal(3.0, 2.0, 40))


@pytest.fixture(scope="module")
def fitted() -> Familiarity:
    return fit_familiarity([like_calibration() for _ in range(200)])


def test_clips_of_the_same_kind_are_familiar(fitted: Familiarity) -> None:
    marked = sum(bool(fitted.warnings(like_calibration())) for _ in range(500))
    assert marked <= 5


def test_a_larger_clip_is_marked_with_the_reason(fitted: Familiarity) -> None:
    (warning,) = fitted.warnings(like_calibration(1280.0))
    assert warning == "out_of_distribution: longest side 1.28e+03 px, calibrated on 86.4 to 106"


def test_another_content_is_marked(fitted: Familiarity) -> None:
    traits = like_calibration()
    (warning,) = fitted.warnings(replace(traits, embedding=traits.embedding + 10.0))
    assert warning.startswith("out_of_distribution: content at distance")


def test_it_survives_json(fitted: Familiarity) -> None:
    assert Familiarity.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


def test_too_few_clips_are_refused() -> None:
    with pytest.raises(CacError, match="too few"):
        fit_familiarity([like_calibration()] * 4)


def test_a_reward_model_marks_a_video_of_another_kind(small_dataset: Path, project_params: Params) -> None:
    base, processor = load_base(project_params.model)
    plain = RewardModel(base, processor, project_params.frames, max_turn_tokens=8)
    clips, store = read_clips(small_dataset), ClipStore(small_dataset)
    videos = [store.video(clip) for clip in clips]
    fitted = fit_familiarity(plain.traits(videos[6:]))
    model = RewardModel(
        base, processor, project_params.frames, calibration=Calibration(1.0, 0.0, 0.5), max_turn_tokens=8,
        familiarity=fitted, scope="scope: drawn scenes only",
    )  # fmt: skip
    noise = Video(np.random.default_rng(1).integers(0, 256, (40, 200, 300, 3), np.uint8), 30.0)
    known, unknown = model.judge([videos[0], noise])
    assert known.warnings[0] == unknown.warnings[0] == "scope: drawn scenes only"
    assert not any(one.startswith("out_of_distribution") for one in known.warnings)
    (warning,) = [one for one in unknown.warnings if one.startswith("out_of_distribution")]
    assert "longest side 300 px" in warning
    assert "content at distance" in warning
