"""Splitting a folder: in place without harm, elsewhere with all that belongs to it, and twice to the same bytes."""

import os
from pathlib import Path

import pytest
from helpers.version_cases import clip, dataset, files

from cac.cli import main as cli
from cac.data.atomic_dataset import split_of
from cac.data.versions.cards import read_card
from cac.data.versions.groups import SplitRatios
from cac.data.versions.split import split_dataset
from cac.errors import CacError
from cac.schema.annotations import CARD_NAME, MANIFEST_NAME, read_clips

RATIOS = SplitRatios(0.3, 0.3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pairs, all in train, two shifted ones, and a report that some maker left."""
    clips = [clip(f"{pair}-{kind}", pair_id=f"p{pair}") for pair in range(12) for kind in "ab"]
    shifted = [clip(f"s{number}", split="test_shifted") for number in range(2)]
    place = dataset(tmp_path / "data", *clips, *shifted)
    (place / "import_report.json").write_text("{}")
    return place


def test_every_pair_has_the_split_of_its_name_and_the_report_counts_what_moved(folder: Path) -> None:
    report = split_dataset(folder, RATIOS, None)
    clips = read_clips(folder)

    assert all(one.split == split_of(one.pair_id, 0.3, 0.3) for one in clips if one.pair_id.startswith("p"))
    assert {one.split for one in clips} == {"train", "val", "test", "test_shifted"}
    assert report.before == {"train": 24, "test_shifted": 2}
    assert report.moved == {("train", split): report.after[split] for split in ("test", "val")}
    assert report.groups == {s: n // 2 for s, n in report.after.items() if s != "test_shifted"} | {"test_shifted": 2}
    assert read_card(folder)["splits"] == {"val_ratio": 0.3, "test_ratio": 0.3}


def test_splitting_twice_changes_nothing_and_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    split_dataset(folder, RATIOS, None)
    before = files(tmp_path)
    report = split_dataset(folder, RATIOS, None)

    assert report.moved == {}
    assert files(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_new_dataset_holds_all_of_the_old_one_which_stays_as_it_was(folder: Path, tmp_path: Path) -> None:
    before = files(folder)
    split_dataset(folder, RATIOS, tmp_path / "new")
    assert files(folder) == before

    split_dataset(folder, RATIOS, None)
    assert files(tmp_path / "new") == files(folder)
    assert "import_report.json" in files(folder)


@pytest.mark.parametrize("survives", [0, 1])
def test_an_interrupted_split_leaves_whole_files_and_the_next_completes_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    before, replaced = files(folder), []
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if len(replaced) == survives:
            raise KeyboardInterrupt
        replaced.append(target.name)
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            split_dataset(folder, RATIOS, None)
    assert {name for name, content in files(folder).items() if content != before[name]} == set(replaced)
    assert replaced == [MANIFEST_NAME][:survives]
    assert len(read_clips(folder)) == 26

    split_dataset(folder, RATIOS, None)
    assert {name for name, content in files(folder).items() if content != before[name]} == {MANIFEST_NAME, CARD_NAME}
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_what_is_linked_to_a_cache_is_replaced_and_the_cache_kept(folder: Path, tmp_path: Path) -> None:
    cached = tmp_path / "cached"
    (folder / MANIFEST_NAME).rename(cached)
    cached.chmod(0o444)
    os.link(cached, folder / MANIFEST_NAME)
    before = cached.read_bytes()
    split_dataset(folder, RATIOS, None)

    assert cached.read_bytes() == before
    assert (folder / MANIFEST_NAME).read_bytes() != before


def test_a_folder_inside_the_dataset_is_refused(folder: Path) -> None:
    with pytest.raises(CacError, match="one is inside the other"):
        split_dataset(folder, RATIOS, folder / "new")
    assert not (folder / "new").exists()


def test_the_command_shows_clips_and_groups(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "split", str(folder), "--val-ratio", "0.3", "--test-ratio", "0.3"]
    assert cli.main(command) == 0
    assert "from train to test" in capsys.readouterr().out
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "clips that moved: none" in out
    assert "test_shifted" in out

    with pytest.raises(SystemExit, match="2"):
        cli.main(command[:-2])
