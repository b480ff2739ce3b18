"""The batch on real files: a valid dataset, the same bytes again, and a reason for whatever was not used."""

import json
from pathlib import Path

import numpy as np
import pytest

from cac.cli import main as cli
from cac.data.injection.batch import assign_splits_to_videos, draw_crop, inject_folder, list_files, split_notes
from cac.data.injection.report import InjectionReport
from cac.data.injection.segments import cut_segments
from cac.data.injection.settings import InjectionSettings
from cac.data.validation.facts_table import gather_facts
from cac.errors import CacError
from cac.schema.annotations import read_clips
from cac.schema.linked_clips import video_of

SETTINGS = InjectionSettings(pairs_per_clip=3, segment_seconds=1.5, size=96)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_moving, write_video) -> Path:
    """Three good videos, one of them below, and one of each kind of trouble."""
    place = tmp_path_factory.mktemp("videos")
    (place / "below").mkdir()
    for number, name in enumerate(("a.mp4", "b.mov", "below/c.mkv")):
        write_video(place / name, make_moving(36, number))
    frames = make_moving(30, 5)
    write_video(place / "rotated.mp4", frames, turn=90)
    write_video(place / "variable.mp4", frames, times=[t * 50 + 20 * (t % 3) for t in range(30)])
    write_video(place / "one.mp4", frames[:1])
    write_video(place / "tiny.mp4", frames[:, :32, :32])
    (place / "cut.mp4").write_bytes((place / "a.mp4").read_bytes()[:-500])
    (place / "copy.mp4").write_bytes((place / "a.mp4").read_bytes())
    (place / "notes.txt").write_text("not a video\n" * 40)
    (place / "renamed.dat").write_bytes(write_video(place / "x.mp4", make_moving(36, 7)).read_bytes())
    (place / "x.mp4").unlink()
    (place / ".hidden.mp4").write_text("")
    return place


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory) -> tuple[Path, InjectionReport]:
    out = tmp_path_factory.mktemp("made") / "data"
    return out, inject_folder(folder, out, SETTINGS)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_dataset_passes_every_check_of_its_clips(made):
    facts = gather_facts(made[0])
    assert [one.problems for one in facts if one.problems] == []
    assert len(facts) == 2 * made[1].pairs > 12
    assert len({one.file_sha256 for one in facts}) == len(facts), "no clip is there twice"


def test_every_file_is_reported_with_its_reason(folder, made):
    files = {one.file: one for one in made[1].files}
    assert {name for name, one in files.items() if one.status == "used"} == {
        "a.mp4", "b.mov", "below/c.mkv", "rotated.mp4", "variable.mp4", "renamed.dat",
    }  # fmt: skip
    for name, said in (
        ("one.mp4", "no segment"), ("tiny.mp4", "too small"), ("cut.mp4", "cannot be decoded"),
        ("copy.mp4", "same content as a.mp4"), ("notes.txt", "no video stream"),
    ):  # fmt: skip
        assert files[name].status == "refused"
        assert said in files[name].reason
    assert ".hidden.mp4" not in files
    assert str(folder) not in (made[0] / "injection_report.json").read_text(), "the same wherever the folder lies"
    assert any("upright" in note for note in files["rotated.mp4"].notes)
    assert any("variable" in note for note in files["variable.mp4"].notes)


def test_nothing_is_dropped_silently(made):
    out, report = made
    short = [one for one in report.refusals if one.leaf is None]
    segments = sum(one.segments for one in report.files) - len(short)
    assert report.pairs + len(report.refusals) - len(short) == SETTINGS.pairs_per_clip * segments
    assert all(one.reason for one in report.refusals)
    written = json.loads((out / "injection_report.json").read_text())
    assert written["pairs"] == report.pairs == sum(written["leaves"].values())
    assert sum(written["reasons"].values()) == len(written["refused"]) == len(report.refusals)


def test_the_video_is_known_from_the_names_of_its_pairs(made):
    videos = {clip.source: {video_of(c.pair_id) for c in read_clips(made[0]) if c.source == clip.source}
              for clip in read_clips(made[0])}  # fmt: skip
    assert all(len(found) == 1 for found in videos.values())
    assert len({name for found in videos.values() for name in found} - {None}) == len(videos) == 6


def test_a_video_is_in_one_split_and_twins_have_one_length(made):
    clips = read_clips(made[0])
    assert {clip.split for clip in clips} == {"train", "val", "test"}
    for source in {clip.source for clip in clips}:
        assert len({clip.split for clip in clips if clip.source == source}) == 1
    for pair in {clip.pair_id for clip in clips}:
        twins = [clip for clip in clips if clip.pair_id == pair]
        assert len({(clip.frame_count, clip.width, clip.height, clip.fps) for clip in twins}) == 1


def test_the_same_folder_and_seed_give_the_same_bytes(folder, made, tmp_path):
    inject_folder(folder, tmp_path / "again", SETTINGS)
    assert contents(tmp_path / "again") == contents(made[0])


def test_splits_are_assigned_by_video():
    names = [f"v{number}" for number in range(20)]
    splits = assign_splits_to_videos(names * 3, SETTINGS)
    assert [list(splits.values()).count(split) for split in ("test", "val", "train")] == [4, 3, 13]
    assert set(assign_splits_to_videos(names[:3], SETTINGS).values()) == {"train", "val", "test"}
    assert set(assign_splits_to_videos(names[:2], SETTINGS).values()) == {"train"}


def test_a_small_train_split_is_noted(made):
    clip = read_clips(made[0])[0]
    assigned = [("a.mp4", "train"), ("b.mp4", "val"), ("c.mp4", "test"), ("c.mp4", "test")]
    clips = [clip.model_copy(update={"source": source, "split": split}) for source, split in assigned for _ in range(2)]
    assert split_notes(clips) == [
        "train has 1 of 4 pairs, because splits are assigned to whole videos: try another --seed, or give more videos"
    ]
    assert split_notes(clips[:6] + clips[:2]) == []
    assert "fewer than 3" in split_notes(clips[:4])[0]


def test_the_first_pair_shows_the_whole_frame_and_others_parts_of_it():
    rng = np.random.default_rng(0)
    assert draw_crop((96, 128), 0, rng) == (slice(None), slice(None))
    for number in range(1, 20):
        for side, part in zip((96, 128), draw_crop((96, 128), number, rng), strict=True):
            assert 0 <= part.start < part.stop <= side
            assert 0.75 * side <= part.stop - part.start <= 0.95 * side
            assert (part.stop - part.start) % 2 == 0


def test_the_output_inside_the_folder_is_no_input(tmp_path):
    for name in ("a.mp4", "out/clips/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_files(tmp_path, tmp_path / "out") == [tmp_path / "a.mp4"]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"leaves": ("extra_moon",)}, "extra_moon"), ({"leaves": ()}, "nothing"), ({"pairs_per_clip": 0}, "at least 1"),
        ({"val_ratio": 0.6, "test_ratio": 0.4}, "training"), ({"size": 32}, "--size"), ({"size": 4096}, "--size"),
        ({"segment_seconds": 0.1}, "--segment-seconds"), ({"seed": -1}, "--seed"),
    ],
)  # fmt: skip
def test_settings_out_of_bounds_are_refused(setting, said):
    with pytest.raises(CacError, match=said):
        InjectionSettings(**setting)


def test_the_command_makes_a_dataset_and_says_what_came_of_each_file(tmp_path, make_moving, write_video, capsys):
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "good.mp4", make_moving(30, 1))
    (tmp_path / "in" / "bad.mp4").write_text("no")
    command = ["data", "inject", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--leaves", "colour_swap, garbled_text", "--size", "96"]) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("good.mp4", "bad.mp4", "refused", "2 pairs in", "all pairs are in train"))
    assert {clip.anomalies[0].leaf for clip in read_clips(tmp_path / "out") if not clip.is_clean} == {
        "colour_swap", "garbled_text",
    }  # fmt: skip


def test_a_folder_of_which_nothing_can_be_used_is_a_mistake_that_leaves_the_dataset_there_was(
    tmp_path, make_moving, write_video, capsys
):
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "good.mp4", make_moving(30, 1))
    inject = ["data", "inject", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--pairs-per-clip", "1"]
    assert cli.main(inject) == 0
    before = (tmp_path / "out" / "annotations.jsonl").read_bytes()
    (tmp_path / "in" / "good.mp4").write_text("no")
    capsys.readouterr()
    assert cli.main([*inject, "--overwrite"]) == 2
    said = capsys.readouterr()
    assert "no pair could be made" in said.err
    assert "refused" in said.out
    assert (tmp_path / "out" / "annotations.jsonl").read_bytes() == before != b""


def test_a_change_of_the_frames_size_ends_a_segment(make_moving):
    frames = make_moving(40, 1)
    changing = [*frames[:20], *frames[20:, :, :64]]
    assert [part.shape[:3] for part in cut_segments(changing, 100)] == [
        (20, *frames.shape[1:3]),
        (20, frames.shape[1], 64),
    ]


def test_a_folder_that_is_missing_or_empty_is_named(tmp_path):
    with pytest.raises(CacError, match="no folder"):
        inject_folder(tmp_path / "nowhere", tmp_path / "out", SETTINGS)
    (tmp_path / "in").mkdir()
    with pytest.raises(CacError, match="holds no file"):
        inject_folder(tmp_path / "in", tmp_path / "out", SETTINGS)
