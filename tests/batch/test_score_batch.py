"""Folders and prefixes into Parquet: real videos and files, a judge that costs nothing, and SIGKILL at every step."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from helpers.judges import UNLOOKABLE, BrightIsClean, clip, score_of
from helpers.s3_server import s3_server
from pydantic import ValidationError

from cac.batch.listing import ListedVideo, open_source
from cac.batch.parts_folder import PartsFolder
from cac.batch.plan import Plan, listing_difference
from cac.batch.run import BatchSettings, score_batch
from cac.cli import main as cli
from cac.errors import CacError
from cac.registry import model_uri, pinned
from cac.video.decode import Limits
from cac.video.encode import encode

MODEL = "models:/bright@champion"
SETTINGS = BatchSettings(batch_size=1, limits=Limits(seconds=2.0))
COUNT = 10  # three parts of up to four


@pytest.fixture
def judge(monkeypatch):
    judge = BrightIsClean()
    monkeypatch.setattr(model_uri, "resolve_version", lambda uri: judge.source)
    monkeypatch.setattr(pinned, "pin", lambda source, device: judge)
    return judge


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    """Clips in nested folders, a text, one that is too long, one that cannot be looked at, and what is no video."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "deep" / "er").mkdir(parents=True)
    for i in range(COUNT - 3):
        video = clip(20 + 30 * i)
        encode(folder / ("deep/er" if i % 2 else "") / f"{9 - i}.mp4", video.frames, video.fps)
    (folder / "a text.mp4").write_text("no video")
    encode(folder / "long.mp4", clip(9, frames=17).frames, 8)
    encode(folder / "odd.mp4", clip(9, height=UNLOOKABLE).frames, 8)
    (folder / "notes.txt").write_text("not listed")
    return folder


@pytest.fixture
def folder(rendered, tmp_path) -> Path:
    return Path(shutil.copytree(rendered, tmp_path / "videos"))


def test_a_folder_that_cannot_be_read_is_named_and_not_left_out(folder, monkeypatch):
    real = os.scandir

    def locked(path):
        if str(path).endswith("er"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(CacError, match="deep/er: Permission denied"):
        open_source(str(folder)).videos()


def rows(table: Path) -> list[dict]:
    import pyarrow.parquet as pq

    return pq.ParquetFile(table).read().to_pylist()


def test_every_video_has_a_row_in_the_order_of_names(folder, judge, tmp_path):
    out = tmp_path / "new" / "scores.parquet"
    summary = score_batch(str(folder), out, MODEL, SETTINGS)
    table = rows(out)
    names = [row["video"] for row in table]
    assert names == sorted(names)
    assert len(names) == summary.videos == COUNT
    assert "deep/er/8.mp4" in names
    by_name = {row["video"]: row for row in table}
    dark, bright = by_name["9.mp4"], by_name["3.mp4"]
    assert (dark["score"], dark["verdict"], dark["windows"]) == (score_of(20), "anomalous", [[0.5, 1.0]])
    assert dark["boxes"] == [{"time": 0.5, "box": [0.1, 0.1, 0.5, 0.5]}]
    assert (bright["score"], bright["verdict"], bright["windows"], bright["leaf"]) == (score_of(200), "clean", [], None)
    assert {(row["model"], row["model_version"]) for row in table} == {("models:/bright/7", "7")}
    assert {name: reason.partition(" ")[0] for name, reason in summary.failures} == {
        "a text.mp4": "a",
        "long.mp4": "long.mp4",
        "odd.mp4": "the",
    }
    assert "2 seconds allowed" in by_name["long.mp4"]["error"]
    assert by_name["long.mp4"]["score"] is None
    assert len(by_name["a text.mp4"]["sha256"]) == 64
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_the_same_again_does_nothing_and_anything_else_is_refused(folder, judge, tmp_path):
    out = tmp_path / "scores.parquet"
    first = score_batch(str(folder), out, MODEL, SETTINGS)
    before, judged = out.read_bytes(), len(judge.batches)
    again = score_batch(str(folder), out, MODEL, SETTINGS)
    assert (again.failures, again.written) == (first.failures, False)
    assert len(judge.batches) == judged
    with pytest.raises(CacError, match="other settings"):
        score_batch(str(folder), out, MODEL, BatchSettings(batch_size=2))
    judge.source = "models:/bright/8"
    with pytest.raises(CacError, match="another model"):
        score_batch(str(folder), out, MODEL, SETTINGS)
    judge.source = "models:/bright/7"
    (folder / "9.mp4").unlink()
    with pytest.raises(CacError, match="its videos differ"):
        score_batch(str(folder), out, MODEL, SETTINGS)
    assert out.read_bytes() == before
    assert score_batch(str(folder), out, MODEL, SETTINGS, restart=True).videos == COUNT - 1
    foreign = tmp_path / "foreign.parquet"
    foreign.write_text("mine")
    with pytest.raises(CacError, match="exists"):
        score_batch(str(folder), foreign, MODEL, SETTINGS)
    assert foreign.read_text() == "mine"


def killed_before_step(step: int, *arguments) -> int:
    """Run `score_batch` in a forked process that SIGKILLs itself before its n-th change of files; return its status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        _doom(step)
        score_batch(*arguments)
        code = 0
    finally:
        os._exit(code)


def _doom(step: int) -> None:
    left = [step]

    def watch(event: str, arguments: tuple) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not writes and event not in ("os.rename", "os.remove", "os.rmdir", "os.mkdir"):
            return
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    sys.addaudithook(watch)


def test_killed_before_any_step_it_goes_on_to_the_same_bytes(folder, judge, tmp_path):
    whole, out = tmp_path / "whole.parquet", tmp_path / "scores.parquet"
    score_batch(str(folder), whole, MODEL, SETTINGS)
    for step in range(40):
        status = killed_before_step(step, str(folder), out, MODEL, SETTINGS)
        finished_parts, whole_already = len(list(work_folder(out).glob("part-*.parquet"))), out.exists()
        judge.batches.clear()
        score_batch(str(folder), out, MODEL, SETTINGS)
        assert out.read_bytes() == whole.read_bytes(), f"killed before step {step}"
        assert not work_folder(out).exists()
        if finished_parts:
            assert len(judge.batches) < COUNT - 2, "what was finished is not judged again"
        if whole_already:
            assert judge.batches == []
        out.unlink()
        if status == 0:
            break
        assert status == -signal.SIGKILL
    else:
        pytest.fail("never done")
    assert step > 8


def work_folder(out: Path) -> Path:
    return out.parent / f".{out.name}.parts"


def cut_off(folder: Path, out: Path) -> None:
    for step in range(40):
        shutil.rmtree(work_folder(out), ignore_errors=True)
        assert killed_before_step(step, str(folder), out, MODEL, SETTINGS) == -signal.SIGKILL
        if list(work_folder(out).glob("part-*.parquet")):
            return


def test_a_run_that_was_cut_off_is_not_mixed_with_another(folder, judge, tmp_path):
    out = tmp_path / "scores.parquet"
    cut_off(folder, out)
    with pytest.raises(CacError, match="but its settings are"):
        score_batch(str(folder), out, MODEL, BatchSettings(batch_size=3))
    judge.source = "models:/bright/8"
    with pytest.raises(CacError, match="its model is models:/bright/7, not models:/bright/8"):
        score_batch(str(folder), out, MODEL, SETTINGS)
    judge.source = "models:/bright/7"
    os.utime(folder / "9.mp4", ns=(1, 1))
    with pytest.raises(CacError, match=r"9\.mp4 has changed"):
        score_batch(str(folder), out, MODEL, SETTINGS)
    assert not out.exists()
    assert score_batch(str(folder), out, MODEL, SETTINGS, restart=True).videos == COUNT


def test_two_runs_do_not_make_the_same_table(folder, judge, tmp_path):
    from cac.batch.parts_folder import PartsFolder

    out = tmp_path / "scores.parquet"
    with PartsFolder(out).locked(), pytest.raises(CacError, match="another run is writing"):
        score_batch(str(folder), out, MODEL, SETTINGS)


def test_a_prefix_gives_what_its_folder_gives_and_a_silent_store_ends_the_run(folder, judge, tmp_path, monkeypatch):
    (tmp_path / "store" / "bucket").mkdir(parents=True)
    shutil.copytree(folder, tmp_path / "store" / "bucket" / "clips")
    shutil.copytree(folder, tmp_path / "store" / "bucket" / "clips-of-others")
    out, local = tmp_path / "s3.parquet", tmp_path / "local.parquet"
    with s3_server(tmp_path / "store") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        score_batch("s3://bucket/clips", out, MODEL, SETTINGS)
        with pytest.raises(CacError, match="NoSuchBucket"):
            score_batch("s3://nothing", tmp_path / "none.parquet", MODEL, SETTINGS)
    score_batch(str(folder), local, MODEL, SETTINGS)
    assert out.read_bytes() == local.read_bytes()
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(CacError, match="Check AWS_ENDPOINT_URL_S3"):
        score_batch("s3://bucket/clips", tmp_path / "none.parquet", MODEL, SETTINGS)


def test_the_verb_names_failures_and_exits_2(folder, judge, tmp_path, capsys):
    command = ["score-batch", str(folder), "--out", str(tmp_path / "scores.parquet"), "--model", MODEL]
    assert cli.main([*command, "--max-seconds", "2"]) == 2
    out, err = capsys.readouterr()
    assert f"{COUNT} videos, 3 without a score, by models:/bright/7" in out
    assert "a text.mp4 cannot be decoded" in err
    for path in ("a text.mp4", "long.mp4", "odd.mp4"):
        (folder / path).unlink()
    assert cli.main([*command, "--restart"]) == 0
    with pytest.raises(SystemExit, match="2"):
        cli.main(command[:-2])
    assert "--model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "message"),
    [("nowhere", "no folder at nowhere"), (".", "no videos below"), ("s3://", "is not an S3 URL")],
)
def test_a_source_without_videos_is_a_clear_error(judge, tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CacError, match=message):
        score_batch(source, tmp_path / "scores.parquet", MODEL, SETTINGS)
    assert not list(tmp_path.iterdir())


def test_the_first_difference_of_two_listings_is_named():
    a, b, c = (ListedVideo(name, 1, "0") for name in "abc")
    assert listing_difference([a, b], [a, b]) is None
    assert listing_difference([a, c], [a, b, c]) == "b is new"
    assert listing_difference([a, b], [a, b, c]) == "c is new"
    assert listing_difference([a, b, c], [a, c]) == "b is gone"
    assert listing_difference([a, b], [a, ListedVideo("b", 2, "0")]) == "b has changed"


PLAN = Plan("x", "models:/m/1", SETTINGS, (ListedVideo("é.mp4", 3, "1"),))


def test_a_plan_survives_its_file():
    stored = json.dumps(PLAN.to_dict(), sort_keys=True)
    read = Plan.from_dict(json.loads(stored))
    assert read == PLAN
    assert json.dumps(read.to_dict(), sort_keys=True) == stored


@pytest.mark.parametrize("path", [(), ("settings",), ("settings", "limits"), ("videos", 0)])
def test_a_plan_with_an_unknown_key_is_refused(path):
    data = json.loads(json.dumps(PLAN.to_dict()))
    part = data
    for key in path:
        part = part[key]
    part["surprise"] = 1
    with pytest.raises(ValidationError, match="surprise"):
        Plan.from_dict(data)


@pytest.mark.parametrize("content", ['{"surprise": 1}', "{", "[]"])
def test_the_plan_of_another_version_is_an_error_that_says_what_to_do(tmp_path: Path, content: str):
    parts = PartsFolder(tmp_path / "scores.parquet")
    parts.folder.mkdir()
    (parts.folder / "plan.json").write_text(content)
    with pytest.raises(CacError, match=r"not a plan of this version of cac\. Remove"):
        parts.plan()
