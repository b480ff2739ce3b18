"""A folder is made by one at a time, and what an earlier one left is not taken for its own."""

from pathlib import Path

import pytest

from cac.data.atomic_dataset import new_dataset
from cac.errors import CacError
from cac.schema.annotations import CARD_NAME


def test_a_second_maker_of_the_same_folder_is_refused_and_the_first_one_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "data"
    with new_dataset(out) as scratch:
        (scratch / CARD_NAME).write_text("first")
        with pytest.raises(CacError, match="another process is writing"), new_dataset(out):
            pass
        assert (scratch / CARD_NAME).read_text() == "first"

    assert (out / CARD_NAME).read_text() == "first"


def test_one_after_the_other_may_make_the_same_folder(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with new_dataset(tmp_path / "data", overwrite=True) as scratch:
            (scratch / CARD_NAME).write_text(content)

    assert (tmp_path / "data" / CARD_NAME).read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_what_a_killed_maker_left_is_removed(tmp_path: Path) -> None:
    remains = tmp_path / ".data.partial" / "clips"
    remains.mkdir(parents=True)
    (remains / "half.mp4").touch()
    (remains.parent / CARD_NAME).touch()
    with new_dataset(tmp_path / "data") as scratch:
        assert [path.name for path in scratch.rglob("*")] == ["clips"]


def test_a_file_in_the_way_of_the_scratch_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / ".data.partial").touch()
    with pytest.raises(CacError, match="cannot write to"), new_dataset(tmp_path / "data"):
        pass
