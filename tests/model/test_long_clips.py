"""Clips longer than the frames' budget: judged, scored, calibrated and trained in segments, by real models."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cac.evaluation.calibrate import calibrate
from cac.evaluation.ceiling import perfect_judgements
from cac.frames import Frames
from cac.model.calibration import Calibration, fit_calibration
from cac.model.loading import load_base
from cac.model.reward_model import RewardModel
from cac.params import Params
from cac.schema.annotations import Clip, read_clips
from cac.schema.dialogue import look_content, tool_reply
from cac.schema.geometry import temporal_iou
from cac.training import multi_frame_sft, single_frame_sft
from cac.training.grpo.rejection_sampling import rollout_to_dialogue
from cac.training.grpo.rollouts import rollout_clips
from cac.training.samples import SampleSpec, build_dialogue
from cac.training.two_turn_grpo import max_tool_response_tokens
from cac.video.clip_store import ClipStore
from cac.video.decode import Video
from cac.video.segments import clip_segments, cut_video

CALIBRATION = Calibration(2.0, 0.3, threshold=0.5)


@pytest.fixture(scope="module")
def frames(project_params: Params) -> Frames:
    """Segments of one second, so that the small clips of the tests have several."""
    changes = {"coarse_count": 4, "coarse_rate": 4.0, "dense_count": 4, "dense_rate": 8.0, "overlap": 0.25}
    sizes = {"coarse_size": 32, "dense_size": 32, "one_look_size": 32}
    return project_params.frames.model_copy(update={**changes, **sizes})


@pytest.fixture(scope="module")
def params(project_params: Params, frames: Frames, fresh_base: Path) -> Params:
    return project_params.model_copy(
        update={
            "frames": frames,
            "compute": project_params.compute.model_copy(update={"threads": 1}),
            "model": project_params.model.model_copy(update={"base": str(fresh_base)}),
        }
    )


@pytest.fixture(scope="module")
def model(params: Params) -> RewardModel:
    base, processor = load_base(params.model)
    return RewardModel(base, processor, params.frames, calibration=CALIBRATION, max_turn_tokens=250)


@pytest.fixture(scope="module")
def clips(small_dataset: Path) -> list[Clip]:
    return read_clips(small_dataset)


def noise(frame_count: int, seed: int = 0) -> Video:
    pixels = np.random.default_rng(seed).integers(0, 255, (frame_count, 48, 64, 3), dtype=np.uint8)
    return Video(pixels, 8.0)


def test_a_long_clip_is_judged_as_its_segments_are_and_scored_as_their_product(model: RewardModel) -> None:
    video = noise(25)
    parts = cut_video(video, model.frames)
    assert len(parts) == 4
    alone = model.judge(parts)
    (whole,) = model.judge([video])
    assert whole.parsed
    assert whole.segment_margins == tuple(part.margin for part in alone)
    assert model.score(whole) == pytest.approx(math.prod(model.score(part) for part in alone))
    assert whole.verdict == ("clean" if model.score(whole) >= 0.5 else "anomalous")
    assert whole.frames_seen == sum(part.frames_seen for part in alone)
    assert all(0 <= finding.time < video.duration for finding in whole.findings)
    assert all(0 <= start < end <= video.duration for start, end in whole.windows)


def test_batches_of_long_and_short_clips_change_nothing(model: RewardModel) -> None:
    videos = [noise(25), noise(6, 1), noise(17, 2)]
    expected = [model.judge([video])[0] for video in videos]
    assert [one.segment_margins == () for one in expected] == [False, True, False]
    for batch_size in (1, 2, 32):
        judged = model.judge(videos, batch_size)
        assert [one.look_text for one in judged] == [one.look_text for one in expected]
        assert [one.margin for one in judged] == pytest.approx([one.margin for one in expected], abs=1e-3)


def test_right_answers_of_segments_find_the_anomaly_of_the_whole(clips: list[Clip], frames: Frames) -> None:
    anomalous = [clip for clip in clips if not clip.is_clean]
    judged = perfect_judgements(anomalous, frames)
    assert {one.verdict for one in judged} == {"anomalous"}
    overlaps = [temporal_iou(one.windows, clip.windows) for one, clip in zip(judged, anomalous, strict=True)]
    assert np.mean(overlaps) > 0.9
    clean = [clip for clip in clips if clip.is_clean]
    assert {one.verdict for one in perfect_judgements(clean, frames)} == {"clean"}


def test_the_score_is_fitted_on_segments_with_their_own_truth(clips: list[Clip], frames: Frames) -> None:
    judged = perfect_judgements(clips, frames)
    fitted = calibrate(judged, clips, frames)
    pairs = [
        (margin, segment.is_clean)
        for one, clip in zip(judged, clips, strict=True)
        for margin, segment in zip(one.margins, clip_segments(clip, frames), strict=True)
    ]
    expected = fit_calibration([margin for margin, _ in pairs], [is_clean for _, is_clean in pairs])
    assert (fitted.temperature, fitted.bias) == (expected.temperature, expected.bias)
    assert fitted.threshold is not None
    scores = [fitted.probability(one) for one in judged]
    assert [score >= fitted.threshold for score in scores] == [clip.is_clean for clip in clips]


def test_the_score_of_a_clean_clip_does_not_fall_with_its_length() -> None:
    """Margins of segments drawn from one truth: calibrated scores of clips of 1 and of 16 segments are both right."""
    random = np.random.default_rng(0)
    rate, shift = 0.02, 3.0  # of anomalous segments; how far apart the margins are
    truth = random.random(40_000) < rate
    margins = random.normal(np.where(truth, -shift, shift) / 2, 1.5)
    fitted = fit_calibration(margins.tolist(), (~truth).tolist())
    scores = np.array([fitted.score(margin) for margin in margins])
    for length in (1, 16):
        clean = ~truth.reshape(-1, length).any(axis=1)
        predicted = scores.reshape(-1, length).prod(axis=1)
        assert predicted.mean() == pytest.approx(clean.mean(), abs=0.02)


@pytest.mark.slow
def test_the_supervised_stages_learn_from_segments(
    params: Params, small_dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    short = {"max_steps": 1, "batch_size": 4, "gradient_accumulation_steps": 1}
    params = params.model_copy(
        update={
            "single_frame_sft": params.single_frame_sft.model_copy(update=short),
            "multi_frame_sft": params.multi_frame_sft.model_copy(update={**short, "single_frame_ratio": 0.5}),
        }
    )
    (tmp_path / "data").symlink_to(small_dataset)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    single_frame_sft.train(params, tmp_path)
    multi_frame_sft.train(params, tmp_path)
    assert (tmp_path / "models" / "multi_frame_sft" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    "times", [[0.0, 0.125, 0.25, 0.375], [65.0, 65.042, 65.083, 65.125], [999.001, 999.002, 999.003]]
)
def test_what_the_tool_answers_fits_its_room_however_long_the_stamps(
    model: RewardModel, frames: Frames, times: list[float]
) -> None:
    """GRPO cuts a rollout off beyond this length, and a cut one cannot be parsed."""
    images = [Image.new("RGB", (frames.dense_size, frames.dense_size))] * len(times)
    answered = model.processor.apply_chat_template(
        [[tool_reply(look_content(images, times))]], add_generation_prompt=True, tokenize=True, return_dict=True
    )
    assert len(answered["input_ids"][0]) <= max_tool_response_tokens(model.processor, frames)


def test_rollouts_and_dialogues_are_of_segments(
    params: Params, model: RewardModel, clips: list[Clip], small_dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").symlink_to(small_dataset)
    settings = params.two_turn_grpo.rejection_sampling.model_copy(update={"clips": 10_000})
    grpo = params.two_turn_grpo.model_copy(update={"rejection_sampling": settings})
    partition = params.train_partition.model_copy(update={"reinforcement_ratio": 0.0})
    chosen = rollout_clips(params.model_copy(update={"two_turn_grpo": grpo, "train_partition": partition}), tmp_path)
    train = [clip for clip in clips if clip.split == "train"]
    assert len(chosen) == sum(len(clip_segments(clip, params.frames)) for clip in train) > 2 * len(train)
    segment = next(one for one in chosen if not one.is_clean)
    store = ClipStore(tmp_path / "data")
    true = build_dialogue(SampleSpec(0), [segment], store, params.frames)
    shown = [block for block in true.messages[0]["content"] if block["type"] == "image"]
    assert len(shown) == 4
    (judgement,) = model.judge([store.video(segment)])
    own = rollout_to_dialogue(judgement, segment, store, params.frames)
    assert own.messages[0]["content"][-1] == true.messages[0]["content"][-1]
