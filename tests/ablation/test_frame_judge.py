"""The frame judge: a clip is as suspicious as its most suspicious frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cac.ablation.frame_judge import FrameJudge
from cac.frames import Frames
from cac.model.loading import load_base
from cac.model.reward_model import Answer, RewardModel
from cac.params import Params
from cac.schema.dialogue import format_time, parse_look
from cac.schema.judgement import Judgement
from cac.video.decode import Video
from cac.video.views import View, only_view

NOTHING = "none\nattribution none verdict clean"
VIDEO = Video(np.zeros((16, 48, 64, 3), dtype=np.uint8), 8.0)


@pytest.fixture
def frames(project_params: Params) -> Frames:
    return project_params.frames.model_copy(
        update={"coarse_count": 2, "dense_count": 2, "coarse_size": 32, "dense_size": 32, "one_look_size": 32}
    )


class Scripted:
    """A reward model whose answer to each frame, without its time, is given; keeps what it was shown."""

    def __init__(self, frames: Frames, answers: list[tuple[str, float]]) -> None:
        self.frames, self.answers, self.shown = frames, answers, []

    def look_at(self, views: Sequence[View]) -> list[Answer]:
        self.shown += views
        given = [self.answers.pop(0) for _ in views]
        return [
            Answer(f"{format_time(view.times[0])} {text}", margin, unaided=True)
            for view, (text, margin) in zip(views, given, strict=True)
        ]


def judged(frames: Frames, *answers: tuple[str, float], batch_size: int = 32) -> tuple[Judgement, list[View]]:
    model = Scripted(frames, list(answers))
    (judgement,) = FrameJudge(model).judge([VIDEO], batch_size)  # type: ignore[arg-type]
    return judgement, model.shown


def seen(leaf: str, box: str = "10 20 30 40") -> str:
    return f"seen {box}\nattribution {leaf} verdict anomalous"


def test_each_frame_of_one_look_is_shown_by_itself(frames: Frames) -> None:
    judgement, shown = judged(frames, *[(NOTHING, 3.0)] * 4, batch_size=3)
    expected = only_view(VIDEO, frames)
    assert [view.indices for view in shown] == [[index] for index in expected.indices] == [[2], [6], [10], [14]]
    assert [view.images[0].size for view in shown] == [(32, 24)] * 4
    assert (judgement.margin, judgement.verdict, judgement.windows) == (3.0, "clean", ())
    assert judgement.frames_seen == 4


def test_the_margin_and_the_leaf_are_those_of_the_most_suspicious_frame(frames: Frames) -> None:
    answers = (NOTHING, 1.5), (seen("teleport"), -0.5), (seen("colour_swap"), -2.0), (NOTHING, 4.0)
    judgement, _ = judged(frames, *answers)
    assert judgement.margin == -2.0
    assert (judgement.verdict, judgement.leaf) == ("anomalous", "colour_swap")
    unsure, _ = judged(frames, (NOTHING, 1.5), (NOTHING, 0.1), (NOTHING, 2.0), (NOTHING, 4.0))
    assert (unsure.margin, unsure.verdict, unsure.leaf) == (0.1, "clean", None)


def test_windows_and_boxes_are_those_of_the_accused_frames(frames: Frames) -> None:
    answers = (NOTHING, 2.0), (seen("teleport", "50 50 90 80"), -1.0), (seen("teleport"), -2.0), (NOTHING, 3.0)
    judgement, _ = judged(frames, *answers)
    assert [finding.time for finding in judgement.findings] == [0.25, 0.75, 1.25, 1.75]
    assert [finding.box for finding in judgement.findings] == [None, (0.5, 0.5, 0.9, 0.8), (0.1, 0.2, 0.3, 0.4), None]
    assert judgement.windows == ((0.5625, 1.5625),), "half way to the frames on either side"
    read = parse_look(judgement.look_text)
    assert read is not None
    assert read.leaf == "teleport"


def test_a_frame_whose_answer_cannot_be_parsed_abstains_for_the_clip(frames: Frames) -> None:
    judgement, _ = judged(frames, (NOTHING, 2.0), ("seen 1 2", -5.0), (NOTHING, 2.0), (NOTHING, 3.0))
    assert not judgement.parsed
    assert (judgement.margin, judgement.verdict) == (0.0, "clean")


def test_a_real_model_judges_a_clip_by_its_frames(project_params: Params, fresh_base: Path, frames: Frames) -> None:
    base, processor = load_base(project_params.model.model_copy(update={"base": str(fresh_base)}))
    model = RewardModel(base.eval(), processor, frames, max_turn_tokens=64)
    pixels = np.random.default_rng(0).integers(0, 255, (16, 48, 64, 3), dtype=np.uint8)
    video = Video(pixels, 8.0)
    (judgement,) = FrameJudge(model).judge([video])
    view = only_view(video, frames)
    alone = [
        model.look_at([View([index], [time], [image])])[0]
        for index, time, image in zip(view.indices, view.times, view.images, strict=True)
    ]
    assert judgement.margin == pytest.approx(min(answer.margin for answer in alone), abs=1e-4)
    assert len({answer.margin for answer in alone}) == 4
    looks = [parse_look(answer.text) for answer in alone]
    assert [finding.box for finding in judgement.findings] == [look.findings[0].box for look in looks if look]
    assert judgement.parsed
