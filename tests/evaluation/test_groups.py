"""Results by length and size of the anomaly: every anomalous clip in one group of each, with the group's own values."""

from dataclasses import replace

from cac.evaluation.groups import evaluate_groups


def test_clips_are_grouped_by_the_length_of_their_windows_and_the_size_of_their_boxes(make_clip, perfect) -> None:
    brief, long, clean = make_clip(0, "teleport", window=(4, 6)), make_clip(1, "teleport", window=(2, 14)), make_clip(2)
    clips = [brief, long, clean]
    missed = replace(perfect(brief), verdict="clean", windows=(), findings=(), family=None, leaf=None)
    groups = evaluate_groups(clips, [missed, perfect(long), perfect(clean)], [0.9, 0.1, 0.9], 10, 0)
    assert {name: row["recall"]["value"] for name, row in groups["length"].items()} == {
        "up to 0.25 s": 0.0,
        "over 1.25 s": 1.0,
    }
    (size,) = groups["size"].values()
    assert size["recall"]["value"] == 0.5


def test_a_clip_without_boxes_has_a_length_and_no_size(make_clip, perfect) -> None:
    clip = make_clip(0, "teleport")
    boxless = clip.model_copy(update={"anomalies": (clip.anomalies[0].model_copy(update={"boxes": ()}),)})
    groups = evaluate_groups([boxless], [perfect(clip)], [0.1], 10, 0)
    assert len(groups["length"]) == 1
    assert groups["size"] == {}
