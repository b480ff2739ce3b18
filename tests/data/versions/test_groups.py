"""Groups and their splits: nothing that belongs together is parted, and nothing moves as data grows."""

from collections import Counter

import pytest
from helpers.version_cases import clip
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.data.atomic_dataset import split_of
from cac.data.injection.pair import name_pair
from cac.data.versions.groups import SplitRatios, assign_splits, groups_across_splits, recorded_ratios
from cac.errors import CacError
from cac.schema.annotations import Clip
from cac.schema.linked_clips import group_clips, video_of

RATIOS = SplitRatios(0.25, 0.25)
TOWARDS_TRAIN = ("test", "val", "train")

names = st.integers(0, 30).map(lambda n: f"pair{n}")
contents = st.integers(0, 60).map(lambda n: f"content{n}")


@st.composite
def clip_lists(draw: st.DrawFn) -> list[Clip]:
    said = draw(st.lists(st.tuples(names, contents), max_size=24))
    return [clip(f"c{i}", content, pair_id=pair) for i, (pair, content) in enumerate(said)]


def splits(clips: list[Clip]) -> dict[str, str]:
    return {one.clip_id: one.split for one in assign_splits(clips, RATIOS)}


def linked_pairs(clips: list[Clip]) -> dict[str, set[str]]:
    """The pairs of each clip's group, by the clip's id."""
    return {clips[i].clip_id: {clips[j].pair_id for j in group} for group in group_clips(clips) for i in group}


def test_groups_are_linked_by_pair_and_by_content_over_any_number_of_steps() -> None:
    clips = [
        clip("a", "one", pair_id="p"), clip("b", "two", pair_id="p"), clip("c", "two", pair_id="q"),
        clip("d", "three", pair_id="q"), clip("e", "four", pair_id="r"),
    ]  # fmt: skip
    assert group_clips(clips) == [[0, 1, 2, 3], [4]]


def test_clips_that_the_injector_cut_from_one_video_stay_together() -> None:
    pairs = [name_pair("walk.mp4", digest, segment, 0) for digest in ("ab" * 32, "cd" * 32) for segment in range(20)]
    clips = [clip(f"{pair}-{kind}", pair_id=pair) for pair in pairs for kind in ("clean", "anomalous")]

    assert [len(group) for group in group_clips(clips)] == [40, 40]
    assert len({one.split for one in assign_splits(clips[:40], RATIOS)}) == 1
    assert video_of(pairs[0]) == "walk-abababab"
    assert video_of("scene0001") is None


@settings(max_examples=60, deadline=None)
@given(clip_lists())
def test_no_group_is_parted_and_splitting_again_changes_nothing(clips: list[Clip]) -> None:
    placed = assign_splits(clips, RATIOS)

    assert groups_across_splits(placed) == []
    assert assign_splits(placed, RATIOS) == placed
    assert [one.model_copy(update={"split": "train"}) for one in placed] == clips


@settings(max_examples=60, deadline=None)
@given(clip_lists(), st.integers(0, 24), st.randoms())
def test_added_clips_move_old_ones_only_by_linking_groups_and_only_towards_train(clips, count, order) -> None:
    old, grown = clips[:count], list(clips)
    order.shuffle(grown)
    before, after = splits(old), splits(grown)
    had, has = linked_pairs(old), linked_pairs(grown)
    for name, split in before.items():
        moved = TOWARDS_TRAIN.index(after[name]) - TOWARDS_TRAIN.index(split)
        assert moved == 0 if had[name] == has[name] else moved >= 0


@settings(max_examples=40, deadline=None)
@given(clip_lists())
def test_a_pair_that_is_linked_to_no_other_has_the_split_of_its_name(clips: list[Clip]) -> None:
    alone = [clip(one.clip_id, one.clip_id, pair_id=one.pair_id) for one in clips]

    assert splits(alone) == {one.clip_id: split_of(one.pair_id, RATIOS.val, RATIOS.test) for one in alone}


def test_many_groups_get_about_the_shares() -> None:
    counted = Counter(splits([clip(f"c{i}") for i in range(1000)]).values())

    assert counted["test"] / 1000 == pytest.approx(RATIOS.test, abs=0.05)
    assert counted["val"] / 1000 == pytest.approx(RATIOS.val, abs=0.05)


def test_shifted_clips_stay_and_a_group_that_is_partly_shifted_is_named() -> None:
    shifted = [clip(f"s{i}", pair_id=f"p{i // 2}", split="test_shifted") for i in range(20)]
    assert set(splits(shifted).values()) == {"test_shifted"}

    with pytest.raises(CacError, match=r"(?s)2 groups are partly in test_shifted.*test_shifted: s0, s1; train: t0.*t9"):
        assign_splits([*shifted, clip("t0", pair_id="p0"), clip("t9", pair_id="p9")], RATIOS)


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.2), (0.5, 0.5), (float("nan"), 0.1)])
def test_shares_that_leave_nothing_to_train_on_are_refused(val: float, test: float) -> None:
    with pytest.raises(CacError, match="--val-ratio and --test-ratio"):
        SplitRatios(val, test)


@pytest.mark.parametrize(
    "splits", [{"val_ratio": 0.1, "test_ratio": 0.2}, {"val_share": 0.1, "test_share": 0.2}], ids=["now", "before 0.2"]
)
def test_ratios_are_read_from_cards_of_this_version_and_of_earlier_ones(splits: dict[str, float]) -> None:
    assert recorded_ratios({"splits": splits}) == SplitRatios(0.1, 0.2)


def test_a_card_without_ratios_records_none() -> None:
    assert recorded_ratios({}) is None
    assert recorded_ratios({"splits": SplitRatios(0.1, 0.2).to_dict()}) == SplitRatios(0.1, 0.2)
