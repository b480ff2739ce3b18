import pytest

from cac.cli.clip_selection import select_clips
from cac.errors import CacError
from cac.schema.annotations import Anomaly, Clip, FrameBox
from cac.schema.taxonomy import LEAVES, family_of


def clip(name: str, leaf: str | None) -> Clip:
    boxes = (FrameBox(frame=4, box=(0.1, 0.1, 0.2, 0.2)),)
    anomalies = (
        (Anomaly(family=family_of(leaf), leaf=leaf, window=(0.5, 0.625), boxes=boxes, saliency=1.0),) if leaf else ()
    )
    return Clip(
        clip_id=name, path=f"clips/{name}.mp4", sha256="0" * 64, fps=8.0, frame_count=16, width=32, height=32,
        source="s", generator="g", split="train", pair_id=name, anomalies=anomalies,
    )  # fmt: skip


FIRST, SECOND = sorted(LEAVES)[:2]
CLIPS = [clip("clean", None), *(clip(f"first{n}", FIRST) for n in range(3)), clip("second", SECOND)]


def test_a_count_takes_one_of_each_leaf_in_turns():
    assert [c.clip_id for c in select_clips(CLIPS, "3")] == ["first0", "second", "first1"]


def test_a_count_above_what_there_is_takes_every_anomalous_clip():
    assert [c.clip_id for c in select_clips(CLIPS, "99")] == ["first0", "second", "first1", "first2"]


def test_ids_are_taken_as_named():
    assert [c.clip_id for c in select_clips(CLIPS, "second, clean")] == ["second", "clean"]


def test_an_unknown_id_is_named():
    with pytest.raises(CacError, match="nope"):
        select_clips(CLIPS, "second,nope")


def test_showing_nothing_is_refused():
    with pytest.raises(CacError, match="at least 1"):
        select_clips(CLIPS, "0")
