"""Interrupted runs: killed for real, resumed, and the same in the end; other models and benchmarks are refused."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.benchmark_cases import DARK, evaluate, make_videos, pair, write_jsonl, write_pairs, yes_no
from helpers.judges import UNLOOKABLE, BrightIsClean, clip

from cac.errors import CacError
from cac.evaluation.benchmarks.judged_file import open_judged
from cac.video.encode import encode

TESTS = Path(__file__).parents[2]
COUNT = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("module") / "bench"
    make_videos(folder, {f"{number}.mp4": DARK + 15 * number for number in range(COUNT)})
    answers = ["yes" if number % 3 else "no" for number in range(COUNT)]
    write_jsonl(
        folder / "task1_meta.jsonl", [yes_no(number, f"{number}.mp4", answer) for number, answer in enumerate(answers)]
    )
    return folder


def start(folder: Path, out: Path, seconds: float) -> subprocess.Popen[bytes]:
    source = TESTS.parent / "src"
    environment = os.environ | {"PYTHONPATH": f"{TESTS}:{source}"}
    program = [sys.executable, "-m", "helpers.evaluate_slowly"]
    arguments = [str(folder), str(out), str(seconds), str(out.parent / "counted")]
    return subprocess.Popen([*program, *arguments], env=environment, stderr=subprocess.DEVNULL)


def judged_lines(out: Path) -> list[bytes]:
    file = out / "judged.jsonl"
    return file.read_bytes().splitlines(keepends=True) if file.is_file() else []


@pytest.mark.slow
def test_a_killed_run_resumes_where_it_was_and_ends_as_if_it_had_not_been_killed(folder, tmp_path):
    out, straight = tmp_path / "out", tmp_path / "straight"
    process = start(folder, out, seconds=0.5)
    deadline = time.monotonic() + 120
    while len(judged_lines(out)) < 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -9
    done = len(judged_lines(out))
    assert 4 <= done < COUNT
    assert not (out / "metrics.json").exists()
    assert start(folder, out, seconds=0).wait() == 0
    assert int((tmp_path / "counted").read_text()) == COUNT - done
    evaluate("artifact-bench", folder, out=straight, batch_size=2)
    for name in ("metrics.json", "predictions.jsonl", "judged.jsonl"):
        assert (out / name).read_bytes() == (straight / name).read_bytes()


def test_a_line_that_was_cut_off_is_judged_again(folder, tmp_path):
    out, judge = tmp_path / "out", BrightIsClean()
    evaluate("artifact-bench", folder, out=out)
    whole = (out / "judged.jsonl").read_bytes()
    (out / "judged.jsonl").write_bytes(whole[:-40])
    evaluate("artifact-bench", folder, out=out, judge=judge)
    assert judge.batches == [1]
    assert (out / "judged.jsonl").read_bytes() == whole


def test_the_same_again_judges_nothing(folder, tmp_path):
    out, judge = tmp_path / "out", BrightIsClean()
    first = evaluate("artifact-bench", folder, out=out)
    assert evaluate("artifact-bench", folder, out=out, judge=judge) == first
    assert judge.batches == []


def test_another_model_or_benchmark_is_refused_and_changes_nothing(folder, tmp_path):
    out = tmp_path / "out"
    evaluate("artifact-bench", folder, out=out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(CacError, match=r"clips of the model models:/bright/7, not models:/bright/8\. Choose another"):
        evaluate("artifact-bench", folder, out=out, judge=BrightIsClean("models:/bright/8"))
    write_pairs(folder / "videogen-rewardbench.csv", [pair("0.mp4", "9.mp4", "B")])
    with pytest.raises(CacError, match="clips of the benchmark artifact-bench, not videogen-rewardbench"):
        evaluate("videogen-rewardbench", folder, out=out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("line", ["{}", "no json", '{"benchmark": 1}', "[]"])
def test_a_file_that_is_no_judged_clips_is_refused(folder, tmp_path, line):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "judged.jsonl").write_text(f"{line}\n")
    with pytest.raises(CacError, match=r"judged\.jsonl:1 is no judged clip"):
        evaluate("artifact-bench", folder, out=tmp_path / "out")


def test_two_runs_do_not_write_one_folder(folder, tmp_path):
    out = tmp_path / "out"
    with (
        open_judged(out / "judged.jsonl", "artifact-bench", "models:/bright/7"),
        pytest.raises(CacError, match="another run is writing"),
    ):
        evaluate("artifact-bench", folder, out=out)


def test_a_replaced_video_is_judged_again_and_a_renamed_one_is_not(tmp_path):
    folder, judge = tmp_path / "bench", BrightIsClean()
    make_videos(folder, {"a.mp4": 30, "b.mp4": 60})
    write_jsonl(folder / "task1_meta.jsonl", [yes_no(1, "a.mp4", "yes"), yes_no(2, "b.mp4", "yes")])
    evaluate("artifact-bench", folder)
    (folder / "a.mp4").rename(folder / "c.mp4")
    make_videos(folder, {"b.mp4": 200})
    write_jsonl(folder / "task1_meta.jsonl", [yes_no(1, "c.mp4", "yes"), yes_no(2, "b.mp4", "yes")])
    report = evaluate("artifact-bench", folder, judge=judge)
    assert judge.batches == [1]
    assert report.results[0].metrics["recall"]["value"] == 0.5


def test_batches_are_bounded_and_a_video_that_the_model_rejects_costs_no_other(tmp_path):
    folder, judge = tmp_path / "bench", BrightIsClean()
    make_videos(folder, {f"{number}.mp4": 20 * number for number in range(5)})
    encode(folder / "odd.mp4", clip(9, height=UNLOOKABLE).frames, 8)
    names = [*(f"{number}.mp4" for number in range(5)), "odd.mp4"]
    write_jsonl(folder / "task1_meta.jsonl", [yes_no(number, name, "yes") for number, name in enumerate(names)])
    report = evaluate("artifact-bench", folder, judge=judge, batch_size=4)
    assert max(judge.batches) == 4
    assert report.unusable_videos == {"the model cannot process this video: height 13": ["odd.mp4"]}
    assert report.answered == 5
    lines = (tmp_path / "out" / "judged.jsonl").read_text().splitlines()
    assert {json.loads(line)["model"] for line in lines} == {"models:/bright/7"}
