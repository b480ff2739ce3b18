"""The baselines on real footage of a known anomaly."""

import numpy as np
import pytest

from cac.errors import CacError
from cac.evaluation.baselines import FrameDifference, Majority
from cac.evaluation.facts import clip_facts
from cac.evaluation.metrics import point_values
from cac.schema.dialogue import parse_look
from cac.video.decode import Video, decode
from cac.video.encode import encode


def _measure(clips, judgements) -> dict[str, float | None]:
    return point_values(clip_facts(clips, judgements, [0.5] * len(clips)))


def test_majority_says_the_commoner_class_and_a_tie_is_clean(make_pairs, make_clip, render) -> None:
    clips = make_pairs(4)
    tied = Majority().fit(clips).judge(map(render, clips))
    assert {judgement.verdict for judgement in tied} == {"clean"}
    assert {judgement.margin for judgement in tied} == {0.0}
    mostly = [*clips, make_clip(20, "vanishing"), make_clip(21, "vanishing")]
    judgement = Majority().fit(mostly).judge([render(clips[0])])[0]
    assert (judgement.verdict, judgement.leaf, judgement.windows) == ("anomalous", "vanishing", ((0.0, 2.0),))
    assert judgement.margin < 0
    assert judgement.box_at(1.0) == (0, 0, 1, 1)
    with pytest.raises(CacError, match="train split is empty"):
        Majority().fit([])


def test_frame_difference_finds_a_sudden_change_in_decoded_video(make_pairs, render, tmp_path) -> None:
    clips = make_pairs(6)
    videos = []
    for clip in clips:
        path = tmp_path / f"{clip.clip_id}.mp4"
        encode(path, render(clip).frames, clip.fps)
        videos.append(decode(path))
    baseline = FrameDifference().fit(clips, iter(videos))
    judgements = baseline.judge(videos)
    values = _measure(clips, judgements)
    assert values["balanced_accuracy"] == 1
    assert values["temporal_iou"] > 0.9
    assert values["spatial_iou"] > 0.3
    assert all((j.margin < 0) == (j.verdict == "anomalous") for j in judgements)
    assert all(parse_look(j.look_text) is not None for j in judgements)


def test_frame_difference_chooses_the_best_cut(make_clip) -> None:
    def flash(strength: int) -> Video:
        frames = np.full((16, 32, 32, 3), 50, dtype=np.uint8)
        frames[::2, :4] += np.uint8(1)
        frames[8, 10:20, 10:20] += np.uint8(strength)
        return Video(frames, 8.0)

    strengths = [10, 20, 30, 60, 70, 25]
    clips = [make_clip(i, "teleport" if s >= 25 else None) for i, s in enumerate(strengths)]
    baseline = FrameDifference().fit(clips, map(flash, strengths))
    assert [j.verdict for j in baseline.judge(map(flash, [24, 22, 5]))] == ["anomalous", "clean", "clean"]
    box = baseline.judge([flash(60)])[0].findings[0].box
    assert box == pytest.approx((10 / 32, 10 / 32, 20 / 32, 20 / 32), abs=2 / 32)


def test_frame_difference_survives_a_still_frame_and_needs_both_classes(make_clip, render) -> None:
    clips = [make_clip(0, "teleport"), make_clip(0)]
    baseline = FrameDifference().fit(clips, map(render, clips))
    assert baseline.judge([Video(render(clips[0]).frames[:1], 8.0)])[0].verdict == "clean"
    with pytest.raises(CacError, match="one class is absent"):
        FrameDifference().fit(clips[:1], [render(clips[0])])
