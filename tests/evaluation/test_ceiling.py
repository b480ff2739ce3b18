"""Perfect answers are right wherever a frame shows the anomaly, and no better than the frames allow."""

from pathlib import Path

import pytest

from cac.evaluation import relative
from cac.evaluation.ceiling import perfect_judgements
from cac.evaluation.facts import clip_facts
from cac.evaluation.metrics import point_values
from cac.evaluation.relative import relative_to_ceiling
from cac.frames import Frames
from cac.params import Params
from cac.schema.annotations import read_clips


def ceiling(clips: list, frames: Frames) -> dict[str, float | None]:
    judged = perfect_judgements(clips, frames)
    return point_values(clip_facts(clips, judged, [0.9 if one.verdict == "clean" else 0.1 for one in judged]))


@pytest.mark.parametrize("looks", [1, 2])
def test_perfect_answers_judge_right_and_place_almost_right(
    looks: int, small_dataset: Path, project_params: Params
) -> None:
    frames = project_params.frames.model_copy(update={"looks": looks, "coarse_count": 8, "dense_count": 6})
    values = ceiling(read_clips(small_dataset), frames)
    assert values["balanced_accuracy"] == values["auroc"] == values["leaf_accuracy"] == 1.0
    assert all(0.7 < values[metric] < 1.0 for metric in ("temporal_iou", "spatial_iou"))  # type: ignore[operator]


def test_a_look_at_every_frame_gives_exact_windows(small_dataset: Path, project_params: Params) -> None:
    clips = read_clips(small_dataset)
    frames = project_params.frames.model_copy(update={"looks": 1, "coarse_count": 40, "dense_count": 40})
    assert ceiling(clips, frames)["temporal_iou"] == pytest.approx(1.0, abs=1e-3)


def test_what_no_frame_shows_is_missed_by_perfect_answers_too(small_dataset: Path, project_params: Params) -> None:
    clips = [clip for clip in read_clips(small_dataset) if not clip.is_clean]
    frames = project_params.frames.model_copy(update={"looks": 1, "coarse_count": 1, "dense_count": 0})
    shown = [bool(clip.boxes_at(clip.frame_count // 2)) for clip in clips]
    assert [one.verdict == "anomalous" for one in perfect_judgements(clips, frames)] == shown


def test_one_look_and_two_have_ceilings_of_their_own(small_dataset: Path, project_params: Params) -> None:
    clips = read_clips(small_dataset)
    one, two = (
        relative.ceiling(clips, project_params.frames.model_copy(update={"looks": looks, "dense_count": 6}))
        for looks in (1, 2)
    )
    assert set(one) == {"temporal_iou", "spatial_iou"}
    assert all(one[name] != two[name] for name in one)


def test_a_perfect_yes_or_no_is_right_and_says_neither_when_nor_where(
    small_dataset: Path, project_params: Params
) -> None:
    clips = read_clips(small_dataset)
    judged = perfect_judgements(clips, project_params.frames.model_copy(update={"looks": 0}))
    assert [one.verdict == "clean" for one in judged] == [clip.is_clean for clip in clips]
    assert not any(one.windows or one.findings or one.leaf for one in judged)


def test_a_metric_relative_to_the_ceiling_is_its_share_of_it() -> None:
    values = {"temporal_iou": 0.6, "spatial_iou": None, "auroc": 0.9}
    assert relative_to_ceiling(values, {"temporal_iou": 0.8, "spatial_iou": 0.9}) == {
        "temporal_iou": pytest.approx(0.75),
        "spatial_iou": None,
    }
    assert relative_to_ceiling(values, {"temporal_iou": 0.0})["temporal_iou"] is None
