"""What joins a dataset that stays as it is: splits of new clips, and clips that contradict."""

from helpers.version_cases import anomaly, clip
from hypothesis import given
from hypothesis import strategies as st

from cac.data.ingest.split_assignment import assign_new_splits, find_contradicting
from cac.data.versions.groups import SplitRatios, groups_across_splits

RATIOS = SplitRatios(0.3, 0.3)
SPLITS = ("train", "val", "test")


def test_a_new_twin_takes_the_split_of_the_one_that_is_there():
    old = clip("a", split="test", pair_id="pair")
    [placed], reasons = assign_new_splits([old], [clip("b", split="train", pair_id="pair")], RATIOS)
    assert (placed.split, dict(reasons)) == ("test", {})


def test_a_clip_that_links_two_splits_is_kept_out():
    dataset = [clip("a", split="test", pair_id="p"), clip("b", "word", split="train", pair_id="q")]
    _, reasons = assign_new_splits(dataset, [clip("c", "word", pair_id="p"), clip("d")], RATIOS)
    assert set(reasons) == {0}
    assert "different splits: test, train" in reasons[0][0]


def test_clips_partly_in_test_shifted_are_kept_out():
    _, reasons = assign_new_splits([], [clip("a", pair_id="p"), clip("b", pair_id="p", split="test_shifted")], RATIOS)
    assert set(reasons) == {0, 1}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from(SPLITS)), max_size=12), st.data())
def test_whatever_is_delivered_no_group_is_torn_and_earlier_deliveries_stay(told, data):
    clips = [
        clip(f"{number}", str(content), pair_id=f"p{pair}", split=split)
        for number, (pair, content, split) in enumerate(told)
    ]
    cut = data.draw(st.integers(0, len(clips)))
    dataset: list = []
    for part in (clips[:cut], clips[cut:]):
        placed, reasons = assign_new_splits(dataset, part, RATIOS)
        assert len(placed) == len(part)
        dataset += [one for place, one in enumerate(placed) if place not in reasons]
    assert groups_across_splits(dataset) == []


def test_clips_that_contradict_the_dataset_are_named_with_the_reason():
    dataset = [clip("a"), clip("b", anomalies=(anomaly(),))]
    delivered = [clip("a", "other"), clip("b2", "b"), clip("b3", "b"), clip("fine"), clip("c", "c", path="clips/a.mp4")]
    reasons = find_contradicting(dataset, delivered)
    assert set(reasons) == {0, 1, 2, 4}
    assert "the same id, other content as a (dataset)" in reasons[0]
    assert reasons[1] == ["the same content, annotated differently as b (dataset)"]
    assert "the same path as a (dataset)" in reasons[4]


def test_of_clips_that_contradict_one_another_none_is_chosen():
    assert set(find_contradicting([], [clip("a", "1"), clip("a", "2"), clip("b")])) == {0, 1}


def test_the_same_clip_once_more_is_no_contradiction():
    assert not find_contradicting([clip("a")], [clip("a"), clip("a2", "a")])
