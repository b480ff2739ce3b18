"""Merging: every clip once, nothing contradicted, nothing overwritten, all counted."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.version_cases import CARD, anomaly, clip, dataset, files

from cac.cli import main as cli
from cac.data.validation.annotator_agreement import OPINIONS_NAME
from cac.data.validation.facts_table import gather_facts
from cac.data.versions.cards import read_card
from cac.data.versions.diff import diff_versions, make_version
from cac.data.versions.groups import SplitRatios
from cac.data.versions.merge import REPORT_NAME, merge_datasets
from cac.errors import CacError
from cac.schema.annotations import Clip, Distractor, read_clips, write_clips


def merged(*folders: Path, ratios: SplitRatios | None = None) -> tuple[dict[str, Clip], dict]:
    out = folders[0].parent / "merged"
    merge_datasets(folders, out, ratios)
    return {one.clip_id: one for one in read_clips(out)}, json.loads((out / REPORT_NAME).read_text())


def test_merging_two_real_datasets_adds_exactly_the_others_clips(small_dataset: Path, tmp_path: Path) -> None:
    clips = read_clips(small_dataset)
    parts = []
    for name, part in (("a", clips[:20]), ("b", clips[16:])):
        folder = dataset(tmp_path / name, card=read_card(small_dataset))
        for one in part:
            shutil.copy(small_dataset / one.path, folder / one.path)
            write_clips(folder, part)
        parts.append(folder)
    kept, report = merged(*parts)
    found = diff_versions(make_version("a", clips[:20]), make_version("merged", kept.values()))

    assert [one.clip_id for one in found.added] == sorted(one.clip_id for one in clips[20:])
    assert (found.removed, found.replaced, found.relabelled, found.unchanged) == ((), (), (), 20)
    assert report["clips"] == {"in": 40, "kept": 36, "duplicates": 4}
    assert report["sources"][1] == {"source": "b", "in": 20, "kept": 16, "duplicates": 4}
    assert all(not one.problems for one in gather_facts(tmp_path / "merged"))
    assert read_card(tmp_path / "merged")["merged"] == [read_card(small_dataset)], "the same card is kept once"


def test_the_same_datasets_give_the_same_bytes_and_the_order_of_clips_does_not_matter(tmp_path: Path) -> None:
    a = dataset(tmp_path / "a", clip("1"), clip("3"))
    b = dataset(tmp_path / "b", clip("4"), clip("2", anomalies=(anomaly(),)))
    merge_datasets([a, b], tmp_path / "one")
    merge_datasets([a, b], tmp_path / "two")

    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert [one.clip_id for one in read_clips(tmp_path / "one")] == ["1", "2", "3", "4"]


def test_pairs_that_share_a_clip_become_one_pair_so_that_no_twin_is_lost(tmp_path: Path) -> None:
    a = dataset(tmp_path / "a", clip("x", "scene", pair_id="p"), clip("y", pair_id="p", anomalies=(anomaly(),)),
                contents={"x": "scene"})  # fmt: skip
    b = dataset(tmp_path / "b", clip("v", "scene", pair_id="q"), clip("w", pair_id="q", anomalies=(anomaly(),)),
                contents={"v": "scene"})  # fmt: skip
    kept, report = merged(a, b)

    assert {name: one.pair_id for name, one in kept.items()} == {"x": "p", "y": "p", "w": "p"}
    assert report["joined_pairs"] == {"q": "p"}
    assert report["other_names"] == {"x": {"clip_id": ["v"], "path": ["clips/v.mp4"]}}


def test_every_contradiction_is_listed_and_nothing_is_written(tmp_path: Path) -> None:
    a = dataset(tmp_path / "a", clip("id"), clip("said", "same"), clip("place"), clip("fine"),
                contents={"said": "same"})  # fmt: skip
    b = dataset(tmp_path / "b", clip("id", "other"), clip("elsewhere", "same", anomalies=(anomaly(),)),
                clip("third", path="clips/place.mp4"))  # fmt: skip

    with pytest.raises(CacError) as refused:
        merge_datasets([a, b], tmp_path / "out")
    lines = str(refused.value).splitlines()
    assert lines[0].startswith("3 clips contradict each other, so nothing was merged.")
    assert lines[1:] == [
        f"  the same id, other content: id ({a}), id ({b})",
        f"  the same content, annotated differently: said ({a}), elsewhere ({b})",
        f"  the same path: place ({a}), third ({b})",
    ]
    assert not (tmp_path / "out").exists()


def test_the_order_in_which_anomalies_are_said_does_not_matter(tmp_path: Path) -> None:
    first, second = anomaly(), anomaly("teleport", (1.0, 1.5))
    backwards = first.model_copy(update={"boxes": first.boxes[::-1]})
    assert backwards != first
    a = dataset(tmp_path / "a", clip("x", anomalies=(first, second)))
    b = dataset(tmp_path / "b", clip("x", anomalies=(second, backwards)))

    assert merged(a, b)[1]["clips"] == {"in": 2, "kept": 1, "duplicates": 1}


def test_a_distractor_that_only_one_dataset_knows_of_is_not_lost(tmp_path: Path) -> None:
    a = dataset(tmp_path / "a", clip("x"))
    b = dataset(tmp_path / "b", clip("x", distractors=(Distractor(name="lamp", window=(0.0, 1.0)),)))

    with pytest.raises(CacError, match="annotated differently"):
        merge_datasets([a, b], tmp_path / "out")


@pytest.mark.parametrize("link", [{"pair_id": "p"}, {"content": "scene"}])
def test_a_group_that_two_datasets_put_into_different_splits_is_refused_unless_all_is_split_again(
    tmp_path: Path, link: dict[str, str]
) -> None:
    contents = {"x": "scene", "y": "scene"} if "content" in link else {}
    a = dataset(tmp_path / "a", clip("x", **link, split="val"), contents=contents)
    b = dataset(tmp_path / "b", clip("y", **link), clip("z", split="test"), contents=contents)

    with pytest.raises(CacError, match=r"(?s)1 groups .*--val-ratio .*train: y \(.*b\); val: x \(.*a\)$"):
        merge_datasets([a, b], tmp_path / "merged")
    kept, _ = merged(a, b, ratios=SplitRatios(0.0, 0.0))
    assert {one.split for one in kept.values()} == {"train"}
    assert read_card(tmp_path / "merged")["splits"] == {"val_ratio": 0.0, "test_ratio": 0.0}


def test_files_that_are_not_what_the_manifest_says_are_all_named(tmp_path: Path) -> None:
    a = dataset(tmp_path / "a", clip("good"), clip("changed"), clip("gone"))
    (a / "clips/changed.mp4").write_text("something else")
    (a / "clips/gone.mp4").unlink()
    outside = clip("outside", "secret", path="clips/../../secret.mp4")
    (tmp_path / "secret.mp4").write_text("secret")
    b = dataset(tmp_path / "b")
    write_clips(b, [outside])

    with pytest.raises(
        CacError, match=r"(?s)3 files .*changed .*another content.*gone .*No such file.*outside .*clips/"
    ):
        merge_datasets([a, b], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dataset_grows_in_its_own_place_and_an_interruption_leaves_it_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = dataset(tmp_path / "a", clip("1")), dataset(tmp_path / "b", clip("2"))
    before = files(tmp_path)

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            merge_datasets([a, b], a)
    assert files(tmp_path) == before

    merge_datasets([a, b], a)
    assert [one.clip_id for one in read_clips(a)] == ["1", "2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_dataset_whose_replacement_was_killed_between_two_renamings_is_found_again(tmp_path: Path) -> None:
    a, b = dataset(tmp_path / "a", clip("1")), dataset(tmp_path / "b", clip("2"))
    a.rename(tmp_path / ".a.old")
    (tmp_path / ".a.partial").mkdir()
    merge_datasets([a, b], a)

    assert [one.clip_id for one in read_clips(a)] == ["1", "2"]


def test_a_dataset_inside_another_is_not_swallowed(tmp_path: Path) -> None:
    a = dataset(tmp_path / "a", clip("1"))
    b = dataset(a / "new", clip("2"))

    with pytest.raises(CacError, match="one is inside the other"):
        merge_datasets([a, b], a)
    assert files(b)


def test_cards_of_what_was_merged_before_are_kept_flat(tmp_path: Path) -> None:
    cards = [CARD | {"seed": seed, "licence": licence} for seed, licence in ((1, "CC0-1.0"), (2, "MIT"), (3, "MIT"))]
    for number, card in enumerate(cards):
        dataset(tmp_path / str(number), clip(f"c{number}"), card=card)
    merge_datasets([tmp_path / "0", tmp_path / "1"], tmp_path / "two")
    merge_datasets([tmp_path / "two", tmp_path / "2"], tmp_path / "three")
    card = read_card(tmp_path / "three")

    assert card["merged"] == cards
    assert card["licence"] == "CC0-1.0; MIT"


@pytest.mark.parametrize(
    ("card", "said"),
    [("{", "not valid JSON"), ("[]", "not a JSON object"), ('{"schema_version": "2"}', "schema_version is '2'")],
)
def test_a_card_that_cannot_be_used_is_named(tmp_path: Path, card: str, said: str) -> None:
    a, b = dataset(tmp_path / "a", clip("1")), dataset(tmp_path / "b", clip("2"))
    (b / "dataset.json").write_text(card)

    with pytest.raises(CacError, match=rf"b/dataset\.json.*{said}"):
        merge_datasets([a, b], tmp_path / "out")


def say(folder: Path, *opinions: tuple[str, str, list]) -> None:
    """Write the opinions (clip, annotator, anomalies) of a dataset."""
    lines = (
        {"clip_id": name, "annotator": who, "anomalies": [one.model_dump(mode="json") for one in found]}
        for name, who, found in opinions
    )
    (folder / OPINIONS_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_opinions_come_along_under_the_names_their_clips_have_then(tmp_path: Path) -> None:
    first, second = anomaly(), anomaly("teleport", (1.0, 1.5))
    a = dataset(tmp_path / "a", clip("x", "scene"), clip("y"), contents={"x": "scene"})
    b = dataset(tmp_path / "b", clip("v", "scene"), clip("w"), contents={"v": "scene"})
    say(a, ("x", "ben", []), ("x", "anna", [first, second]))
    say(b, ("v", "anna", [second, first]), ("v", "carla", [first]), ("w", "anna", []))
    _, report = merged(a, b)
    lines = [json.loads(line) for line in (tmp_path / "merged" / OPINIONS_NAME).read_text().splitlines()]

    assert [(one["clip_id"], one["annotator"], len(one["anomalies"])) for one in lines] == [
        ("w", "anna", 0), ("x", "anna", 2), ("x", "ben", 0), ("x", "carla", 1)
    ]  # fmt: skip
    assert report["opinions"] == {"in": 5, "kept": 4, "duplicates": 1}


def test_opinions_that_cannot_be_merged_are_all_listed_and_nothing_is_written(tmp_path: Path) -> None:
    a, b = dataset(tmp_path / "a", clip("1")), dataset(tmp_path / "b", clip("1"))
    say(a, ("1", "anna", []), ("gone", "anna", []))
    say(b, ("1", "anna", [anomaly()]))
    with (b / OPINIONS_NAME).open("a") as file:
        file.write('{"clip_id": "1"}\n[\n')

    with pytest.raises(CacError) as refused:
        merge_datasets([a, b], tmp_path / "out")
    first, *lines = str(refused.value).splitlines()
    assert first.startswith("4 opinions cannot be merged")
    assert lines[0] == f"  {a}/opinions.jsonl:2: no clip of the dataset has the id 'gone'"
    assert lines[1] == f"  {b}/opinions.jsonl:1: anna has another opinion on 1 in {a}/opinions.jsonl:1"
    assert "annotator: Field required" in lines[2]
    assert "not valid JSON" in lines[3]
    assert not (tmp_path / "out").exists()


def test_datasets_without_opinions_leave_no_file_of_them(tmp_path: Path) -> None:
    merged(dataset(tmp_path / "a", clip("1")), dataset(tmp_path / "b", clip("2")))
    assert not (tmp_path / "merged" / OPINIONS_NAME).exists()


def test_the_command_shows_what_came_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset(tmp_path / "a", clip("1"))
    dataset(tmp_path / "b", clip("1"), clip("2"))
    command = ["data", "merge", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines() if line.strip()][2:4] == [list("a110"), list("b211")]
    assert "with 2 clips" in out

    assert cli.main([*command, "--val-ratio", "0.1"]) == 2
    assert "go together" in capsys.readouterr().err
