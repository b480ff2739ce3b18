"""Two versions: every difference is found and named, and none where there is none."""

from pathlib import Path

import pytest
from helpers.version_cases import anomaly, clip, dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.cli import main as cli
from cac.data.versions.diff import count_changes, diff_clips, diff_versions, make_version
from cac.errors import CacError
from cac.schema.annotations import Clip


def test_clips_are_added_removed_replaced_and_relabelled() -> None:
    before = [clip("gone"), clip("same"), clip("cut"), clip("said", anomalies=(anomaly(),))]
    after = [
        clip("new", split="val", anomalies=(anomaly(), anomaly("teleport"))), clip("same"),
        clip("cut", "other", frame_count=12), clip("said"),
    ]  # fmt: skip
    found = diff_versions(make_version("1", before), make_version("2", after))

    assert [(one.clip_id, one.split, one.leaves) for one in found.added] == [("new", "val", ("vanishing", "teleport"))]
    assert [one.clip_id for one in found.removed] == ["gone"]
    assert [(one.clip_id, list(one.changes)) for one in found.replaced] == [("cut", ["sha256", "frame_count"])]
    assert [(one.clip_id, list(one.changes)) for one in found.relabelled] == [
        ("said", ["leaf", "windows", "boxes", "saliency"])
    ]
    assert found.unchanged == 1
    assert count_changes([*found.replaced, *found.relabelled])["sha256"] == 1


@pytest.mark.parametrize(
    ("changed", "what", "before", "after"),
    [
        ({"split": "val"}, "split", "train", "val"),
        ({"pair_id": "q"}, "pair_id", "x", "q"),
        ({"generator": "Wan2.1"}, "generator", "by hand", "Wan2.1"),
        ({"anomalies": (anomaly("colour_swap"),)}, "leaf", ["vanishing"], ["colour_swap"]),
        ({"anomalies": (anomaly(window=(0.25, 0.75)),)}, "windows", [[0.25, 0.5]], [[0.25, 0.75]]),
        ({"anomalies": (anomaly().model_copy(update={"saliency": 0.9}),)}, "saliency", [0.5], [0.9]),
    ],
)
def test_what_changed_is_named_with_both_values(changed, what, before, after) -> None:
    (found,) = diff_clips(clip("x", anomalies=(anomaly(),)), clip("x", **{"anomalies": (anomaly(),)} | changed)).items()

    assert (found[0], found[1].before, found[1].after) == (what, before, after)


def test_only_the_boxes_that_differ_are_listed() -> None:
    whole = anomaly()
    moved = whole.model_copy(update={"boxes": (whole.boxes[0], anomaly(shift=0.1).boxes[1])})
    changes = diff_clips(clip("x", anomalies=(whole,)), clip("x", anomalies=(moved,)))

    assert changes.keys() == {"boxes"}
    assert (changes["boxes"].before, changes["boxes"].after) == (
        {3: [[0.1, 0.2, 0.5, 0.7]]},
        {3: [[0.2, 0.2, 0.6, 0.7]]},
    )


def test_the_order_of_anomalies_and_boxes_is_no_change_but_how_they_go_together_is() -> None:
    one, two = anomaly(), anomaly("teleport", (1.0, 1.5), 0.2)
    turned = one.model_copy(update={"boxes": one.boxes[::-1]})
    assert diff_clips(clip("x", anomalies=(one, two)), clip("x", anomalies=(two, turned))) == {}

    swapped = (one.model_copy(update={"window": two.window}), two.model_copy(update={"window": one.window}))
    assert diff_clips(clip("x", anomalies=(one, two)), clip("x", anomalies=swapped)).keys() == {"anomalies"}


clips = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("12")), unique_by=lambda said: said[0]).map(
    lambda said: [clip(name, content) for name, content in said]
)


@settings(max_examples=50, deadline=None)
@given(clips, clips)
def test_both_ways_say_the_same_and_every_clip_is_counted_once(old: list[Clip], new: list[Clip]) -> None:
    there, back = (diff_versions(make_version("a", a), make_version("b", b)) for a, b in ((old, new), (new, old)))

    assert (there.added, there.removed, there.unchanged) == (back.removed, back.added, back.unchanged)
    assert len(there.removed) + len(there.replaced) + len(there.relabelled) + there.unchanged == len(old)
    assert len(there.added) + len(there.replaced) + len(there.relabelled) + there.unchanged == len(new)
    assert diff_versions(make_version("a", old), make_version("a", old)).unchanged == len(old)


def test_an_id_that_is_there_twice_is_a_mistake() -> None:
    with pytest.raises(CacError, match="more than once: a, b"):
        make_version("data", [clip(name) for name in "abcab"])


def test_the_command_says_it_in_words_and_exits_0_either_way(tmp_path: Path, capsys) -> None:
    a = dataset(tmp_path / "a", clip("x", anomalies=(anomaly(),)), clip("gone"))
    b = dataset(tmp_path / "b", clip("x", split="val", anomalies=(anomaly("colour_swap", (0.0, 0.5), 0.1),)),
                *(clip(f"new{i:02}") for i in range(30)))  # fmt: skip
    assert cli.main(["data", "diff", str(a), str(b)]) == 0
    out = capsys.readouterr().out
    assert "30 added, 1 removed, 0 replaced, 1 relabelled, 0 unchanged" in out
    joined = " ".join(out.split())
    assert "leaf vanishing → colour_swap; windows 0.25–0.5 s → 0–0.5 s; boxes of 2 frames; split train → val" in joined
    assert "and 10 more" in out
    assert "new19" in out
    assert "new20" not in out

    assert cli.main(["data", "diff", str(a), str(a)]) == 0
    out = capsys.readouterr().out
    assert "0 added, 0 removed, 0 replaced, 0 relabelled, 2 unchanged" in out
    assert len(out.splitlines()) == 1 + (str(a) not in out), "no empty table"
