"""Outputs written aside: complete or not there, whatever happens meanwhile."""

from pathlib import Path

import pytest

from cac.errors import CacError
from cac.io.aside import new_file, new_folder, sibling, write_text


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_file_replaces_the_old_one_when_it_is_complete(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("old")
    with new_file(tmp_path / "a.mp4") as partial:
        assert partial.suffix == ".mp4", "a library may choose the format by the suffix"
        partial.write_text("new")
        assert (tmp_path / "a.mp4").read_text() == "old"
    assert (tmp_path / "a.mp4").read_text() == "new"
    assert below(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_an_error_leaves_neither_the_output_nor_folders_made_for_it(tmp_path: Path, make) -> None:
    with pytest.raises(KeyboardInterrupt), make(tmp_path / "some" / "where" / "out"):
        raise KeyboardInterrupt
    assert below(tmp_path) == []


def test_a_folder_above_that_somebody_else_uses_stays(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "shared" / "out.json"):  # noqa: PT012
        (tmp_path / "shared" / "other.json").touch()
        raise ZeroDivisionError
    assert below(tmp_path) == ["shared", "shared/other.json"]


def test_an_error_leaves_the_old_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out") as partial:  # noqa: PT012
        (partial / "new").touch()
        raise ZeroDivisionError
    assert below(tmp_path) == ["out", "out/old"]


def test_a_folder_replaces_the_old_one_and_what_a_killed_run_left(tmp_path: Path) -> None:
    for name in ("out", sibling(tmp_path / "out", "partial").name):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").touch()
    with new_folder(tmp_path / "out") as partial:
        (partial / "new").touch()
    assert below(tmp_path) == ["out", "out/new"]


def test_a_link_keeps_pointing_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "target.json").write_text("old")
    (tmp_path / "link.json").symlink_to("target.json")
    write_text(tmp_path / "link.json", "new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "target.json").read_text() == "new"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacError, match=r"cannot write to .*file"):
        write_text(tmp_path / "file" / "out.json", "")
