"""The label map: what an annotation becomes, and messages from which a person can mend the file."""

from pathlib import Path

import pytest
from helpers.exchange_cases import FILES, Importer

from cac.data.exchange.interchange import ImportedAnnotation
from cac.data.exchange.label_map import LabelMap, load_label_map, require_all_mapped
from cac.data.exchange.locations import NORMALISED, Track
from cac.errors import CacError
from cac.schema.taxonomy import LEAVES

NOWHERE = Track((), NORMALISED)


def mark(label: str | None, **attributes: str) -> ImportedAnnotation:
    return ImportedAnnotation(label, NOWHERE, attributes)


def test_a_line_with_an_attribute_goes_before_the_label_alone() -> None:
    label_map = LabelMap(labels={"Man": "ignore", "Man.arms=3": "extra_limb", "Man.sure=no": "ignore"})

    assert label_map.leaf_of(mark("Man", arms="2")) == "ignore"
    assert label_map.leaf_of(mark("Man", arms="3")) == "extra_limb"
    assert label_map.leaf_of(mark("Man", sure="no", arms="3")) == "extra_limb", "the first line that fits"


def test_leaves_need_no_line_but_can_have_one() -> None:
    leaf = next(iter(LEAVES))

    assert LabelMap().leaf_of(mark(leaf)) == leaf
    assert LabelMap(labels={leaf: "ignore"}).leaf_of(mark(leaf)) == "ignore"


def test_the_default_is_for_marks_without_a_label_only() -> None:
    label_map = LabelMap(default="vanishing")

    assert label_map.leaf_of(mark(None)) == "vanishing"
    assert label_map.leaf_of(mark("Vanishing")) is None


def test_all_unknown_labels_are_named_at_once_with_counts_and_lines_to_add() -> None:
    annotations = [mark("Head"), mark("Extra leg"), mark("yes"), mark("Head")]
    with pytest.raises(CacError) as caught:
        require_all_mapped(LabelMap(labels={"Extra leg": "extra_limb"}), annotations, Path("map.yaml"))
    message = str(caught.value)

    assert "2 labels are not in the label map: 'Head' (2), 'yes' (1)" in message
    assert '\nlabels:\n  "Head": ignore  # or a leaf\n  "yes": ignore' in message
    assert "map.yaml" in message
    assert all(leaf in message for leaf in LEAVES)


def test_the_lines_to_add_are_valid_even_for_odd_labels(tmp_path: Path) -> None:
    odd = ["yes", "a: b", "#1", "null", 'say "hi"', "рука", "- x", "1.5", "line\nbreak"]
    with pytest.raises(CacError) as caught:
        require_all_mapped(LabelMap(), map(mark, odd), None)
    lines = str(caught.value).split("labels:\n", 1)[1].rsplit("\nLeaves:", 1)[0]
    (tmp_path / "map.yaml").write_text("labels:\n" + lines, encoding="utf-8")

    assert load_label_map(tmp_path / "map.yaml").labels == dict.fromkeys(odd, "ignore")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("labels: {Head: extra_lamb}", "no such leaf: extra_lamb"),
        ("default: nose", "no such leaf: nose"),
        ("lables: {Head: extra_limb}", "lables"),
        ("labels: {yes: extra_limb}", "labels.1.*quotes"),
        ("labels: [a", "no valid YAML"),
        ("- a", "valid dictionary"),
        ("videos: {a.mp4: {pair: 1}}", "videos.a.mp4.pair"),
        ("a: &a [x]\nlabels: {b: [*a, *a]}", "labels.b"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(CacError, match=complaint):
        load_label_map(tmp_path / "map.yaml")


def test_an_empty_file_is_an_empty_map(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("# nothing yet\n")

    assert load_label_map(tmp_path / "map.yaml") == LabelMap()


def test_an_unmapped_label_stops_the_import_before_anything_is_made(take: Importer, tmp_path: Path) -> None:
    with pytest.raises(CacError, match=r"'Person' \(2\), 'Extra leg' \(1\)"):
        take("cvat", FILES / "cvat_keyframes.xml", "labels: {}")
    assert not (tmp_path / "out").exists()


def test_what_the_map_says_of_a_video_goes_before_the_source(take: Importer) -> None:
    labels = """
labels: {Extra leg: extra_limb}
videos:
  a.mp4: {generator: Veo, pair_id: scene-1}
  b: {pair_id: scene-1}
"""
    clips = take("coco", FILES / "coco_video.json", labels).clips

    assert {(clip.generator, clip.pair_id) for clip in clips.values()} == {("Veo", "scene-1"), ("unknown", "scene-1")}
    assert len({clip.split for clip in clips.values()}) == 1


def test_a_video_the_map_names_but_nobody_has_is_an_error(take: Importer) -> None:
    with pytest.raises(CacError, match=r"videos\.x\.mp4: no such file"):
        take("coco", FILES / "coco_video.json", "labels: {Extra leg: extra_limb}\nvideos: {x.mp4: {pair_id: p}}")
