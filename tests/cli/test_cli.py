"""The command line: verbs, messages, exit codes, and what is printed."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from cac.cli import main as cli
from cac.cli import summary
from cac.errors import CacError
from cac.model.calibration import Calibration
from cac.registry import loading, pinned
from cac.registry import overrides as rollback_module
from cac.registry import promote as promote_module
from cac.registry.gate import Check, Decision
from cac.registry.model_uri import default_model_uri
from cac.registry.overrides import Rollback
from cac.schema.dialogue import Finding
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import LEAVES, family_of
from cac.video.decode import Video
from cac.video.encode import encode

ROOT = Path(__file__).parents[2]
LEAF = next(iter(LEAVES))
ANOMALOUS = Judgement(
    margin=-2.0,
    verdict="anomalous",
    windows=((0.5, 1.25),),
    findings=(Finding(0.5, (0.1, 0.1, 0.5, 0.5)),),
    family=family_of(LEAF),
    leaf=LEAF,
    parsed=True,
    frames_seen=8,
    scan_text="",
    look_text="",
    warnings=("scope: drawn scenes only",),
)
CLEAN = Judgement(2.0, "clean", ((0.0, 1.0),), (), None, None, True, 8, "", "")


class DarkIsAnomalous:
    """Stands where a pinned model would be: it judges by brightness, so that its answers are known."""

    source = "models:/bright/7"
    threshold = 0.5

    def judge(self, videos: list[Video], batch_size: int) -> list[tuple[float, Judgement]]:
        judged = [ANOMALOUS if video.frames.mean() < 100 else CLEAN for video in videos]
        return [(Calibration().score(one.margin), one) for one in judged]


@pytest.fixture
def videos(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "dark.mp4", tmp_path / "bright.mp4"
    for path, value in zip(paths, (20, 230), strict=True):
        encode(path, np.full((8, 32, 32, 3), value, np.uint8), 8)
    return paths


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinned, "open_model", lambda uri: DarkIsAnomalous())


VERBS = {
    "": "data train plan evaluate evaluate-on register promote rollback score serve score-batch ablate params drift "
    "status summary",
    "ablate": "run table",
    "drift": "accept check",
    "params": "apply",
}


def _verbs(parser: argparse.ArgumentParser) -> dict[str, tuple[argparse.ArgumentParser, str]]:
    """Return each verb of a parser with its own parser and its help text."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    texts = {choice.dest: choice.help or "" for group in groups for choice in group._choices_actions}
    return {name: (verb, texts[name]) for group in groups for name, verb in group.choices.items()}


@pytest.mark.parametrize("group", VERBS)
def test_every_documented_verb_exists(group):
    verbs = _verbs(cli.build_parser())
    found = _verbs(verbs[group][0]) if group else verbs
    assert set(VERBS[group].split()) <= set(found)


def test_every_verb_and_every_group_has_a_help_text_and_a_description():
    waiting = list(_verbs(cli.build_parser()).items())
    assert len(waiting) > 10
    while waiting:
        name, (parser, text) = waiting.pop()
        assert text, f"{name} has no help text"
        assert parser.description, f"{name} has no description"
        waiting += _verbs(parser).items()


@pytest.mark.parametrize("command", [("-m", "cac"), ("-c", "from cac.cli.main import main; main()")])
def test_version_is_that_of_the_installed_package(command):
    done = subprocess.run((sys.executable, *command, "--version"), capture_output=True, text=True, check=True)
    assert done.stdout == f"cac {version('cac-reward-model')}\n"


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from cac.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'mlflow', 'prefect', 'pandas', 'pydantic', 'numpy', 'rich', "
        "'great_expectations') if m in sys.modules])"
    )
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_misspelt_setting_is_named_without_a_traceback(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text().replace("bootstrap_samples", "botstrap_samples"))
    command = (sys.executable, "-m", "cac", "--params", str(params), "evaluate")
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "evaluation.botstrap_samples: unknown key" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, "an error is one paragraph, not wrapped where nobody reads it"


def test_an_unknown_stage_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["train", "one_turn_grpo"])
    assert "two_turn_grpo" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(monkeypatch):
    def buggy(root):
        raise ZeroDivisionError

    monkeypatch.setattr(summary, "print_summary", buggy)
    with pytest.raises(ZeroDivisionError):
        cli.main(["summary"])


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 3)])
def test_promote_prints_every_check_and_exits_3_on_a_refusal(monkeypatch, capsys, tmp_path, passed, code):
    reason = "it liked melted [/hands] :smile:, " * 12
    checks = (Check("specificity", 0.4968, 0.5, passed, "at least"), Check("rolled_back", 1.0, 0.0, True, reason))
    asked = {}

    def decide(params, version, **options):
        asked.update(options, version=version)
        return Decision("m", version, "1", passed, checks)

    monkeypatch.setattr(promote_module, "promote", decide)
    out = tmp_path / "decision.json"
    command = ["--params", str(ROOT / "params.yaml"), "promote", "--version", "2", "--remeasure"]
    assert cli.main([*command, "--out", str(out)]) == code
    expected = {"version": "2", "remeasure_in": Path.cwd(), "despite_rollback": False, "despite_veto": False}
    assert asked == expected
    assert Decision.from_dict(json.loads(out.read_text())).passed is passed
    shown = capsys.readouterr().out
    assert "0.497" in shown
    assert shown.count("melted") == 12, "a person's words are not cut"
    assert shown.count("[/hands]") == shown.count(":smile:") == 12, "nor read as markup"


def test_rollback_asks_for_a_reason(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["rollback"])
    assert "--reason" in capsys.readouterr().err


def test_rollback_says_who_is_champion_now(monkeypatch, capsys):
    record = Rollback("m", "3", "2", "bad", "2026-01-01T00:00:00+00:00")
    monkeypatch.setattr(rollback_module, "rollback", lambda params, reason: record)
    assert cli.main(["--params", str(ROOT / "params.yaml"), "rollback", "--reason", "bad"]) == 0
    assert "m version 2 is the champion again; it replaces version 3" in capsys.readouterr().out


def test_an_interrupted_verb_says_so_and_exits_130(tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    command = (sys.executable, "-m", "cac", "data", "build", "--out", str(tmp_path / "data"))
    build = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path, preexec_fn=_hear_ctrl_c
    )
    while build.poll() is None and not list(tmp_path.rglob("*.mp4")):
        time.sleep(0.05)
    os.kill(build.pid, signal.SIGINT)
    _, stderr = build.communicate()
    assert build.returncode == 130, stderr
    assert stderr.splitlines()[-1].startswith("Interrupted."), "the message follows the progress bar"
    assert "Traceback" not in stderr
    assert not (tmp_path / "data").exists()


def _hear_ctrl_c() -> None:
    """A test suite in a shell's background ignores SIGINT, and what it starts inherits that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_score_shows_verdict_windows_family_and_leaf(videos, model, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["score", *(path.name for path in videos)]) == 0
    out, err = capsys.readouterr()
    dark, bright = (line for line in out.splitlines() if ".mp4" in line)
    assert all(text in dark for text in ("0.119", "anomalous", "0.5–1.2", str(family_of(LEAF)), LEAF))
    assert all(text in bright for text in ("0.881", "clean"))
    assert "verdict: clean from a score of 0.500. Model: models:/bright/7" in out
    assert err == "warning: scope: drawn scenes only (dark.mp4)\n"


def test_score_as_json_is_one_object_a_line(videos, model, capsys):
    assert cli.main(["score", "--json", *map(str, videos)]) == 0
    dark, bright = map(json.loads, capsys.readouterr().out.splitlines())
    assert (dark["verdict"], dark["windows"], dark["leaf"]) == ("anomalous", [[0.5, 1.25]], LEAF)
    assert dark["boxes"] == [{"time": 0.5, "box": [0.1, 0.1, 0.5, 0.5]}]
    assert dark["warnings"] == ["scope: drawn scenes only"]
    assert (dark["threshold"], dark["model"], dark["model_version"]) == (0.5, "models:/bright/7", "7")
    assert (bright["verdict"], bright["windows"], bright["family"]) == ("clean", [], None)
    assert bright["score"] == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_a_bad_file_is_named_and_the_others_are_scored(videos, model, tmp_path, capsys):
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    files = [str(videos[0]), str(text), str(tmp_path / "nowhere.mp4"), str(videos[1])]
    assert cli.main(["score", "--json", *files]) == 2
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["video"] for answer in answers] == files
    assert [answer.get("verdict") for answer in answers] == ["anomalous", None, None, "clean"]
    assert "notes.mp4" in err
    assert "nowhere.mp4" in err


def test_more_files_than_a_batch_keep_their_order(videos, model, capsys):
    files = [str(videos[number % 2]) for number in range(19)]
    assert cli.main(["score", "--json", *files]) == 0
    assert [json.loads(line)["video"] for line in capsys.readouterr().out.splitlines()] == files


def test_overlay_is_written_for_one_video(videos, model, tmp_path):
    out = tmp_path / "seen.mp4"
    assert cli.main(["score", str(videos[0]), "--overlay", str(out)]) == 0
    assert out.stat().st_size > 0


def test_overlay_of_several_videos_is_refused(videos, model, tmp_path, capsys):
    assert cli.main(["score", *map(str, videos), "--overlay", str(tmp_path / "seen.mp4")]) == 2
    assert "--overlay draws one video" in capsys.readouterr().err


def test_overlay_over_the_video_itself_is_refused(videos, model, capsys):
    before = videos[0].read_bytes()
    assert cli.main(["score", str(videos[0]), "--overlay", str(videos[0])]) == 2
    assert "Choose another file" in capsys.readouterr().err
    assert videos[0].read_bytes() == before


def test_a_missing_package_is_a_clear_error(videos, tmp_path, capsys):
    assert cli.main(["score", "--package", str(tmp_path / "none"), str(videos[0])]) == 2
    assert "no model package" in capsys.readouterr().err


def test_a_store_that_is_not_there_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(CacError, match="no MLflow store at"):
        loading.load_model(default_model_uri(tmp_path / "params.yaml"))
    assert not list(tmp_path.iterdir())


def test_an_unregistered_model_is_a_clear_error(migrated_store, tmp_path, monkeypatch):
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(CacError, match="no model at models:/cac-reward-model@champion"):
        loading.load_model(default_model_uri(tmp_path / "params.yaml"))


def test_summary_shows_intervals_and_dashes_for_what_is_undefined(tmp_path, monkeypatch, capsys):
    rows = {
        "frame_difference": {"auroc": {"value": None, "low": None, "high": None}},
        "base": {"balanced_accuracy": {"value": 0.512, "low": 0.45, "high": 0.57}},
    }
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/evaluation.json").write_text(json.dumps({"test": rows, "val": {}}))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["summary"]) == 0
    out = capsys.readouterr().out
    assert out.index("base") < out.index("frame_difference"), "rows stand in the pipeline's order"
    assert "0.51 [0.45, 0.57]" in out
    assert "None" not in out
    assert "cac register" in out


@pytest.mark.parametrize(("passed", "model"), [(True, "models:/m@champion"), (False, "models:/m/3")])
def test_summary_recommends_the_champion_only_if_the_gate_let_it_through(tmp_path, monkeypatch, capsys, passed, model):
    for folder in ("metrics", ".scratch"):
        (tmp_path / folder).mkdir()
    (tmp_path / "metrics/evaluation.json").write_text('{"test": {}, "val": {}}')
    decision = {"model_name": "m", "version": "3", "champion": None, "passed": passed, "checks": []}
    (tmp_path / ".scratch/decision.json").write_text(json.dumps(decision))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["summary"]) == 0
    out = capsys.readouterr().out
    assert model in out
    assert ("refused" in out) is not passed


def test_summary_before_anything_was_evaluated_says_what_to_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["summary"]) == 2
    assert "make run" in capsys.readouterr().err
