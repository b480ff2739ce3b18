import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.errors import CacError
from cac.params import TrainPartition
from cac.schema.annotations import Clip
from cac.training.train_partition import grpo_clips, sft_clips


def clip(pair: int, twin: str) -> Clip:
    return Clip(
        clip_id=f"{pair}-{twin}", path=f"clips/{pair}-{twin}.mp4",
        sha256=f"{2 * pair + (twin == 'b'):064x}", fps=8.0, frame_count=16, width=96,
        height=96, source="test", generator="test", split="train", pair_id=f"scene{pair:04d}", anomalies=(),
    )  # fmt: skip


def clips(pairs: int) -> list[Clip]:
    return [clip(pair, twin) for pair in range(pairs) for twin in ("a", "b")]


@settings(deadline=None)
@given(st.integers(50, 300), st.floats(0.2, 0.8))
def test_every_pair_is_in_exactly_one_part(pairs: int, share: float) -> None:
    partition = TrainPartition(reinforcement_ratio=share)
    learned, kept = sft_clips(clips(pairs), partition), grpo_clips(clips(pairs), partition)
    assert sorted(c.clip_id for c in [*learned, *kept]) == sorted(c.clip_id for c in clips(pairs))
    assert {c.pair_id for c in learned}.isdisjoint(c.pair_id for c in kept)
    assert len(kept) / (2 * pairs) == pytest.approx(share, abs=0.3)


def test_a_pair_stays_in_its_part_when_the_dataset_grows() -> None:
    partition = TrainPartition(reinforcement_ratio=0.4)
    small, large = ({c.clip_id for c in grpo_clips(clips(n), partition) if c.pair_id < "scene0050"} for n in (50, 200))
    assert small == large


def test_a_pair_that_is_linked_to_no_other_is_placed_by_the_hash_of_its_id() -> None:
    """Versions trained earlier keep their partition."""
    kept = {c.pair_id for c in grpo_clips(clips(8), TrainPartition(reinforcement_ratio=0.42))}
    digests = {c.pair_id: hashlib.sha256(f"reinforcement {c.pair_id}".encode()).hexdigest() for c in clips(8)}
    assert kept == {pair for pair, digest in digests.items() if int(digest[:16], 16) < 0.42 * 2**64}


def test_clips_cut_from_one_video_are_in_one_part() -> None:
    def cut(number: int, digest: str, pair: str) -> Clip:
        changes = {"pair_id": f"walk-{digest}-s{number:04d}-{pair}", "sha256": f"{number}{digest}" + "0" * 48}
        return clip(number, pair).model_copy(update=changes)

    partition = TrainPartition(reinforcement_ratio=0.5)
    videos = {d: [cut(n, d, p) for n in range(9) for p in ("p0", "p1")] for d in ("abababab", "cdcdcdcd", "03030303")}
    kept = {c.pair_id for c in grpo_clips([*clips(9), *(c for cuts in videos.values() for c in cuts)], partition)}
    assert {len(kept & {c.pair_id for c in cuts}) for cuts in videos.values()} == {0, 18}, "all of a video or nothing"


def test_with_a_ratio_of_zero_both_have_all_clips() -> None:
    partition = TrainPartition(reinforcement_ratio=0.0)
    assert sft_clips(clips(5), partition) == grpo_clips(clips(5), partition) == clips(5)


@pytest.mark.parametrize(
    ("part", "share"), [(sft_clips, 1.0), (grpo_clips, 1e-9)], ids=["no SFT clips", "no GRPO clips"]
)
def test_an_empty_part_is_an_error_that_names_the_setting(part, share: float) -> None:
    with pytest.raises(CacError, match=r"train_partition\.reinforcement_ratio"):
        part(clips(3), TrainPartition(reinforcement_ratio=share))
