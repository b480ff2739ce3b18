"""A dataset in numbers: what is counted is what is there, and JSON and picture are the same bytes each time."""

import json
from pathlib import Path

import pytest
from helpers.version_cases import anomaly, clip, dataset, files
from PIL import Image

from cac.cli import main as cli
from cac.data.versions.stats import PICTURE_NAME, STATS_NAME, gather_stats, summarise
from cac.data.versions.stats_report import most_frequent, write_stats
from cac.errors import CacError
from cac.schema.annotations import read_clips
from cac.schema.taxonomy import LEAVES, Family


def test_clips_are_counted_by_what_they_show_and_where_they_are() -> None:
    both = (anomaly(), anomaly(window=(1.0, 1.25)), anomaly("teleport", (0.5, 1.5)))
    clips = [
        clip("a", pair_id="p", anomalies=both), clip("b", pair_id="p"),
        clip("c", split="test", generator="Wan2.1", anomalies=(anomaly("teleport"),)),
    ]  # fmt: skip
    stats = gather_stats(clips)

    assert (stats.clips, stats.groups) == (3, 2)
    assert stats.splits["train"] == {"clean": 1, "anomalous": 1}
    assert stats.splits["val"] == {"clean": 0, "anomalous": 0}
    assert stats.leaves["vanishing"]["train"] == 1, "a clip counts once for a leaf it shows twice"
    assert (stats.leaves["teleport"]["train"], stats.leaves["teleport"]["test"]) == (1, 1)
    assert stats.families[Family.PHYSICAL.value]["test"] == 1
    assert list(stats.leaves) == list(LEAVES), "those without clips too, in the taxonomy's order"
    assert stats.generators["Wan2.1"] == {"train": 0, "val": 0, "test": 1, "test_shifted": 0, "test_hard": 0}
    assert stats.window_seconds == (0.25, 0.25, 1.0, 0.25)
    assert stats.window_shares == (0.125, 0.125, 0.5, 0.125)
    assert stats.durations == (2.0, 2.0, 2.0)
    assert stats.box_areas == pytest.approx([0.2] * 8)


def test_the_spread_of_numbers_is_their_extremes_mean_and_quantiles() -> None:
    assert summarise([]) is None
    assert summarise(range(101)) == {"count": 101, "min": 0, "max": 100, "mean": 50,
                                  "p05": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95}  # fmt: skip


def test_the_same_dataset_gives_the_same_json_and_picture(small_dataset: Path, tmp_path: Path) -> None:
    write_stats(small_dataset, tmp_path / "one")
    write_stats(small_dataset, tmp_path / "two")
    numbers = json.loads((tmp_path / "one" / STATS_NAME).read_text())

    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert numbers["clips"] == len(read_clips(small_dataset)) == 36
    assert sum(sum(split.values()) for split in numbers["splits"].values()) == 36
    assert numbers["durations"]["count"] == 36
    assert numbers["window_seconds"]["count"] == 18
    with Image.open(tmp_path / "one" / PICTURE_NAME) as picture:
        assert len(set(picture.convert("L").resize((60, 40)).tobytes())) > 20, "something is drawn"


def test_a_dataset_of_clean_clips_only_is_drawn_too(tmp_path: Path) -> None:
    stats = write_stats(dataset(tmp_path / "data", clip("$a$", generator="$x_1^")), tmp_path / "out")

    assert stats.to_dict()["window_seconds"] is None
    assert (tmp_path / "out" / PICTURE_NAME).is_file()


def test_only_the_most_frequent_names_get_a_bar_and_no_clip_is_lost() -> None:
    clips = [clip(f"{name}-{i}", generator=f"g{name:02}") for name in range(14) for i in range(name + 1)]
    shown = most_frequent(gather_stats(clips).generators)

    assert next(iter(shown)) == "g13"
    assert list(shown)[-1] == "4 others"
    assert sum(by_split["train"] for by_split in shown.values()) == len(clips)


def test_an_empty_dataset_and_a_place_that_cannot_be_written_are_mistakes(tmp_path: Path) -> None:
    with pytest.raises(CacError, match="no clip"):
        write_stats(dataset(tmp_path / "empty"), tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(CacError, match=r"cannot write .*--out"):
        write_stats(dataset(tmp_path / "data", clip("a")), tmp_path / "file")


def test_the_command_names_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset(tmp_path / "data", clip("a"))
    assert cli.main(["data", "stats", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 0
    assert "1 clips in 1 groups" in capsys.readouterr().out
