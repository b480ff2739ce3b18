"""`cac evaluate-on` at the command line: a real model package on real files, what is printed, and exit codes."""

import json
from pathlib import Path

import pytest
from helpers.benchmark_cases import BRIGHT, DARK, make_videos, write_jsonl, yes_no
from helpers.judges import BrightIsClean

from cac.cli import main as cli
from cac.errors import EXIT_MISTAKE
from cac.registry import pinned
from cac.registry.loading import package_identity

PACKAGE = Path(__file__).parents[1] / "data" / "registered_version" / "artifacts" / "package"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_videos(tmp_path / "bench", {"a.mp4": DARK, "b.mp4": BRIGHT})
    rows = [yes_no(1, "a.mp4", "yes"), yes_no(2, "b.mp4", "no"), yes_no(3, "gone.mp4", "no"), yes_no(4, "b.mp4", "?")]
    write_jsonl(tmp_path / "bench" / "task1_meta.jsonl", rows)
    return tmp_path / "bench"


@pytest.fixture
def judge(monkeypatch):
    judge = BrightIsClean()
    monkeypatch.setattr(pinned, "pin", lambda uri, device: judge)
    return judge


def test_the_table_the_counts_and_the_files(folder, judge, capsys):
    assert cli.main(["evaluate-on", "artifact-bench", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "balanced accuracy   1.00 [1.00, 1.00]" in printed
    assert "artifact-bench: 2 of 3 questions, 2 videos, models:/bright/7" in printed
    assert "1 × `answer` is '?', not yes or no: task1_meta.jsonl, row 4" in printed
    assert "1 × no such file in the folder of videos: gone.mp4" in printed
    out = Path("reports/benchmarks/artifact-bench")
    assert f"wrote {out}" in printed
    assert sorted(path.name for path in out.iterdir()) == ["judged.jsonl", "metrics.json", "predictions.jsonl"]
    assert json.loads((out / "metrics.json").read_text())["results"][0]["task"] == "RVAC"


def test_strict_makes_what_is_refused_an_error(folder, judge, capsys):
    assert cli.main(["evaluate-on", "artifact-bench", str(folder), "--strict", "--out", "out"]) == EXIT_MISTAKE
    assert "error: --strict: 1 rows cannot be used" in capsys.readouterr().err
    assert not Path("out").exists()


def test_mistakes_are_named(folder, judge, capsys):
    assert cli.main(["evaluate-on", "artifact-bench", "nowhere"]) == EXIT_MISTAKE
    assert cli.main(["evaluate-on", "artifact-bench", str(folder), "--batch-size", "0"]) == EXIT_MISTAKE
    assert cli.main(["evaluate-on", "artifact-bench", str(folder), "--out", "bench"]) == EXIT_MISTAKE
    assert cli.main(["evaluate-on", "artifact-bench", str(folder), "--label-map", "no.yaml"]) == EXIT_MISTAKE
    assert cli.main(["evaluate-on", "artifact-bench", str(folder), "--package", "nowhere"]) == EXIT_MISTAKE
    printed = capsys.readouterr().err
    for message in (
        "no folder at nowhere",
        "--batch-size is 0",
        "no file at no.yaml",
        "no model package at nowhere",
        "own folder",
    ):
        assert message in printed


@pytest.mark.slow
def test_a_package_is_known_by_its_content(folder, capsys):
    assert cli.main(["evaluate-on", "artifact-bench", str(folder), "--package", str(PACKAGE), "--out", "out"]) == 0
    lines = [json.loads(line) for line in Path("out/judged.jsonl").read_text().splitlines()]
    assert {line["model"] for line in lines} == {package_identity(PACKAGE)}
    assert package_identity(PACKAGE).startswith("package sha256:")
    assert len(lines) == 2
    assert all(0 <= line["score"] <= 1 for line in lines)
