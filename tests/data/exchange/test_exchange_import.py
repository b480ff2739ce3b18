"""The dataset an import makes: files, facts, splits and the report; and the command that makes it."""

import hashlib
import json
import shutil
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.exchange_cases import FILES, LABELS, Importer, small_video

from cac.cli import data as verbs
from cac.cli import main as cli
from cac.data.atomic_dataset import split_of
from cac.data.exchange.export import FILE_WRITERS, FOLDER_WRITERS
from cac.data.exchange.media import VideoFolder, clip_id
from cac.data.exchange.readers import READERS
from cac.data.validation.facts_table import gather_facts
from cac.errors import CacError
from cac.schema.annotations import read_clips
from cac.video.decode import decode, probe
from cac.video.encode import encode


def clean_videos(folder: Path, *names: str) -> Path:
    """A source that calls these videos fine."""
    source = folder / "clean.json"
    source.write_text(json.dumps([{"video": name, "text": "<answer>Real</answer>"} for name in names]))
    return source


def test_plain_videos_are_copied_byte_for_byte_and_their_facts_probed(take: Importer, videos: Path) -> None:
    done = take("coco", FILES / "coco_video.json")

    for name, clip in done.clips.items():
        content = (done.folder / clip.path).read_bytes()
        assert content == (videos / f"{name}.mp4").read_bytes()
        assert clip.sha256 == hashlib.sha256(content).hexdigest()
        assert (clip.fps, clip.frame_count, clip.width, clip.height, clip.source) == (8, 24, 64, 48, "coco")
    assert done.report["videos"]["copied"] == 2


def test_the_data_checks_find_nothing_wrong_with_an_import(take: Importer) -> None:
    labels = LABELS + "videos: {a.mp4: {pair_id: p}, b.mp4: {pair_id: p}}"
    facts = gather_facts(take("coco", FILES / "coco_video.json", labels).folder)

    assert len(facts) == 2
    assert [one.problems for one in facts] == [{}, {}]


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Videos that are not plain: another container, a varying rate, and one that players turn."""
    folder = tmp_path / "others"
    folder.mkdir()
    encode(folder / "plain.mp4", small_video(9), 8)
    encode(folder / "first.mov", small_video(10), 8)
    write_uneven(folder / "uneven.mp4")
    frames = np.zeros((6, 48, 64, 3), np.uint8)
    frames[:, :24] = 255  # bright above, dark below
    encode(folder / "upright.mp4", frames, 8)
    turn(folder / "upright.mp4", folder / "turned.mp4")
    return folder


def write_uneven(path: Path) -> None:
    """Twelve frames, one of them shown three times as long."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        stream.time_base = Fraction(1, 8)
        for number, pixels in enumerate(small_video(11, 12)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = number + 2 * (number > 5), Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def turn(source: Path, target: Path) -> None:
    """Copy an mp4 with the matrix that has players show it turned clockwise by a quarter."""
    content = bytearray(source.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    target.write_bytes(content)


def test_other_videos_are_encoded_again_with_every_frame_once(take: Importer, tmp_path: Path, others: Path) -> None:
    done = take("skyra", clean_videos(tmp_path, "plain", "first", "uneven"), videos=others)
    uneven = done.clips["uneven"]

    assert done.report["videos"] | {"copied": 1, "encoded": 2} == done.report["videos"]
    assert uneven.frame_count == probe(others / "uneven.mp4").frame_count == 12
    before, after = decode(others / "uneven.mp4").frames, decode(done.folder / uneven.path).frames
    assert np.abs(before.astype(int) - after).mean() < 3
    assert all(one.problems.keys() <= {"pair"} for one in gather_facts(done.folder)), "single clips are no pairs"


def test_a_turned_video_is_stored_as_players_show_it(take: Importer, tmp_path: Path, others: Path) -> None:
    done = take("skyra", clean_videos(tmp_path, "turned.mp4"), videos=others)
    (clip,) = done.clips.values()
    frame = decode(done.folder / clip.path).frames[0]

    assert (clip.width, clip.height) == (48, 64)
    assert frame[:, 24:].mean() > 250
    assert frame[:, :24].mean() < 5, "what was above is on the right"


def test_a_file_that_is_cut_short_is_refused_though_it_decodes(take: Importer, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    with av.open(str(folder / "cut.mp4"), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 255, (24, 48, 64, 3), dtype=np.uint8)
        for pixels in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(folder / "cut.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    end = packets[12].pos  # between two frames: what is there is whole
    (folder / "cut.mp4").write_bytes((folder / "cut.mp4").read_bytes()[:end])

    with pytest.raises(CacError, match=r"cut\.mp4 is cut off at 1\.5 of 3\.0 s"):
        take("skyra", clean_videos(tmp_path, "cut.mp4"), videos=folder)


def test_videos_the_source_does_not_name_are_left_out_unless_they_are_clean(take: Importer) -> None:
    left = take("skyra", FILES / "skyra.jsonl")
    with_rest = take("skyra", FILES / "skyra.jsonl", rest_is_clean=True)

    assert left.report["videos"]["not_named"]["count"] == 1
    assert len(with_rest.clips) == len(left.clips) + 1
    assert with_rest.report["videos"] | {"named": 4, "kept": 3, "clean": 2} == with_rest.report["videos"]


@pytest.mark.parametrize("name", ["gone.mp4", "../videos/b.mp4"])
def test_the_rest_is_not_called_clean_while_a_named_video_is_not_found(
    take: Importer, tmp_path: Path, name: str
) -> None:
    with pytest.raises(CacError, match="needs to know every video"):
        take("skyra", clean_videos(tmp_path, "a.mp4", name), rest_is_clean=True)


def test_a_copy_of_a_refused_video_is_not_called_clean(take: Importer, videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(videos, folder)
    shutil.copy(folder / "sub" / "c.mp4", folder / "0.mp4")
    done = take("skyra", FILES / "skyra.jsonl", videos=folder, rest_is_clean=True)

    assert "0" not in done.clips
    assert done.report["refused_videos"]["the same content as another video"]["examples"] == ["0.mp4"]


def test_a_video_under_two_names_is_one_clip_and_a_copy_is_refused(
    take: Importer, videos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "twice"
    shutil.copytree(videos, folder)
    shutil.copy(folder / "a.mp4", folder / "z.mp4")
    source = clean_videos(tmp_path, "z.mp4", "a", "a.mp4")
    done = take("skyra", source, videos=folder)

    assert set(done.clips) == {"a"}
    assert done.report["refused_videos"]["the same content as another video"]["examples"] == ["z.mp4"]


def test_the_same_evidence_twice_is_one_anomaly(take: Importer, tmp_path: Path) -> None:
    text = (FILES / "skyra.jsonl").read_text().splitlines()[0]
    (tmp_path / "twice.jsonl").write_text(f"{text}\n\n{text}\n")
    done = take("skyra", tmp_path / "twice.jsonl")

    assert len(done.clips["a"].anomalies) == 1
    assert done.report["changed"]["the same annotation twice: kept once"]["count"] == 1


def test_a_clip_with_one_good_annotation_is_kept_and_the_bad_one_counted(take: Importer, tmp_path: Path) -> None:
    line = json.loads((FILES / "skyra.jsonl").read_text().splitlines()[0])
    line["text"] += "<type>Extra leg</type> in <t>[9, 9.5]</t> at <bbox>[0, 0, 1, 1]</bbox>"
    (tmp_path / "one.json").write_text(json.dumps(line))
    report = take("skyra", tmp_path / "one.json").report

    assert report["annotations"] | {"read": 2, "kept": 1} == report["annotations"]
    assert report["refused_marks"]["outside the clip: all its frames or its window"]["count"] == 1


def test_splits_have_their_shares_and_stay_as_data_grows(take: Importer, tmp_path: Path) -> None:
    few = take("skyra", clean_videos(tmp_path, "a.mp4")).clips
    more = take("skyra", clean_videos(tmp_path, "a.mp4", "b.mp4", "sub/c.mp4")).clips
    splits = [split_of(f"p{number}", 0.3, 0.1) for number in range(2000)]

    assert few.items() <= more.items()
    assert splits.count("val") / 2000 == pytest.approx(0.3, abs=0.04)
    assert splits.count("test") / 2000 == pytest.approx(0.1, abs=0.03)
    assert {
        clip.split for clip in take("skyra", clean_videos(tmp_path, "a"), test_ratio=0.99, val_ratio=0).clips.values()
    } == {"test"}


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.2), (float("nan"), 0.1)])
def test_shares_that_leave_nothing_to_train_on_are_refused(take: Importer, shares: tuple[float, float]) -> None:
    with pytest.raises(CacError, match="sum below 1"):
        take("coco", FILES / "coco_video.json", val_ratio=shares[0], test_ratio=shares[1])


def test_the_same_import_gives_the_same_bytes(take: Importer, tmp_path: Path) -> None:
    first = take("coco", FILES / "coco_video.json")
    second = take("coco", FILES / "coco_video.json", out=tmp_path / "second")

    def content(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert content(first.folder) == content(second.folder)
    assert len(content(first.folder)) == 6


@pytest.mark.parametrize("name", ["a b.mp4", "x/a.mp4", "a,b.mp4", "-a.mp4", ".a.mp4", "я" * 200 + ".mp4", "a.mov"])
def test_clip_ids_are_fit_for_file_names_and_unlike_each_other(name: str) -> None:
    found = clip_id(name)

    assert "/" not in found
    assert "," not in found
    assert found[0] not in ".-"
    assert len(f"{found}.mp4".encode()) < 255
    assert found not in {clip_id(other) for other in ("a_b.mp4", "x_a.mp4", "a.mp4", "я" * 199 + ".mp4")}


def test_several_videos_of_one_name_are_not_guessed_between(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mov"):
        (tmp_path / name).touch()
    folder = VideoFolder(tmp_path)

    assert folder.resolve("a.mov") == ("a.mov", True)
    with pytest.raises(Exception, match="several videos"):
        folder.resolve("a")


def test_the_command_imports_prints_and_exports(videos: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "map.yaml").write_text(LABELS)
    out = tmp_path / "data"
    options = ["--videos", str(videos), "--labels", str(tmp_path / "map.yaml"), "--out", str(out)]
    assert cli.main(["data", "import", "skyra", str(FILES / "skyra.jsonl"), *options]) == 0
    shown = capsys.readouterr().out
    assert "called fake, but nothing says" in shown
    assert "import_report.json" in shown
    assert cli.main(["data", "export", "coco", "--data", str(out), "--out", str(tmp_path / "coco.json")]) == 0
    assert len(json.loads((tmp_path / "coco.json").read_text())["videos"]) == len(read_clips(out)) == 2


@pytest.mark.parametrize("missing", ["source", "videos", "labels"])
def test_what_is_missing_is_named_without_a_traceback(videos: Path, tmp_path: Path, capsys, missing: str) -> None:
    (tmp_path / "map.yaml").write_text(LABELS)
    paths = {"source": FILES / "skyra.jsonl", "videos": videos, "labels": tmp_path / "map.yaml"}
    paths[missing] = tmp_path / "nowhere"
    options = ["--videos", str(paths["videos"]), "--labels", str(paths["labels"]), "--out", str(tmp_path / "data")]
    assert cli.main(["data", "import", "skyra", str(paths["source"]), *options]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_the_command_knows_the_formats_there_are() -> None:
    assert set(verbs.IMPORT_FORMATS) == set(READERS)
    assert set(verbs.EXPORT_FORMATS) == set(FILE_WRITERS) | set(FOLDER_WRITERS)
