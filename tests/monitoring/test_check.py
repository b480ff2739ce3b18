"""A monitoring with real videos and a real MLflow store; the judge costs nothing and goes by brightness."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.judges import BrightIsClean, clip
from helpers.tiny_versions import Tiny, make_version

from cac.cli import main as cli
from cac.errors import CacError
from cac.monitoring.check import check_drift
from cac.monitoring.records import DRIFT, KNOWN, NO_DRIFT, TOO_FEW, accept, fetch_picture, last_record, mark_announced
from cac.params import Params
from cac.registry import pinned
from cac.registry.promote import promote
from cac.tracking.mlflow_runs import connect
from cac.video.encode import encode

pytestmark = pytest.mark.slow

BRIGHT, DARK = range(200, 224), range(20, 44)


@pytest.fixture
def params(project_params: Params) -> Params:
    monitoring = project_params.monitoring.model_copy(update={"min_clips": 20})
    return project_params.model_copy(update={"monitoring": monitoring})


@pytest.fixture
def judge(monkeypatch) -> BrightIsClean:
    judge = BrightIsClean()
    monkeypatch.setattr(pinned, "pin", lambda source, device: judge)
    return judge


@pytest.fixture
def project(tmp_path, store_of, params, judge) -> Path:
    """A project with a champion that has test answers."""
    root = tmp_path / "project"
    root.mkdir()
    store_of(root)
    name = params.registry.model_name
    promote(params, make_version(Tiny(pairs=20), name, params.registry.experiment))
    return root


def videos(folder: Path, brightness: range) -> Path:
    folder.mkdir(exist_ok=True)
    for value in brightness:
        video = clip(value)
        encode(folder / f"{value}.mp4", video.frames, video.fps)
    return folder


def test_clips_alarm_once_and_accepted_clips_become_the_reference(project, params, judge, tmp_path):
    place, scratch = videos(tmp_path / "production", DARK), project / ".scratch"
    first = check_drift(project, params, str(place), scratch)
    assert first.new
    assert first.report.outcome == DRIFT
    assert {"score", "duration"} <= set(first.report.drifted)
    assert first.report.reference == "the test split of version 1"
    assert fetch_picture(connect(), first.run_id, tmp_path).read_bytes().startswith(b"\x89PNG")
    assert not list(scratch.iterdir()), "the scores are in MLflow"

    judge.batches.clear()
    again = check_drift(project, params, str(place), scratch)
    assert (again.report, again.run_id, again.new) == (first.report, first.run_id, False)
    assert judge.batches == [], "nothing is scored twice"

    mark_announced(first.run_id)
    copies = Path(shutil.copytree(place, tmp_path / "copies"))
    (copies / "20.mp4").rename(copies / "renamed.mp4")
    known = check_drift(project, params, str(copies), scratch)
    assert (known.report.outcome, known.report.clips, known.report.already_alarmed) == (KNOWN, 0, len(DARK))

    videos(place, BRIGHT)
    later = check_drift(project, params, str(place), scratch)
    assert (later.report.clips, later.report.already_alarmed) == (len(BRIGHT), len(DARK))
    assert later.report.outcome == DRIFT

    accept(params, later.run_id)
    like_it = videos(tmp_path / "like it", range(201, 225))
    calm = check_drift(project, params, str(like_it), scratch)
    assert calm.report.outcome == NO_DRIFT, calm.report
    assert "accepted" in calm.report.reference
    record = last_record(params)
    assert record is not None
    assert (record.run_id, record.outcome, record.drifted, record.model_version) == (calm.run_id, NO_DRIFT, (), "1")


def test_the_clips_accepted_last_are_the_reference_whichever_were_checked_first(project, params, tmp_path):
    scratch = project / ".scratch"
    older, newer = (videos(tmp_path / name, values) for name, values in (("older", DARK), ("newer", BRIGHT)))
    first, second = (check_drift(project, params, str(place), scratch) for place in (older, newer))
    accept(params, second.run_id)
    accept(params, first.run_id)
    third = check_drift(project, params, str(videos(tmp_path / "third", range(21, 45))), scratch)
    assert first.run_id in third.report.reference
    assert third.report.outcome == NO_DRIFT


def test_the_same_files_are_checked_again_after_acceptance_or_a_new_threshold(project, params, tmp_path):
    place, scratch = videos(tmp_path / "production", DARK), project / ".scratch"
    found = check_drift(project, params, str(place), scratch)
    assert found.report.outcome == DRIFT
    lax = params.model_copy(update={"monitoring": params.monitoring.model_copy(update={"max_drift": 1.0})})
    assert check_drift(project, lax, str(place), scratch).report.outcome == NO_DRIFT
    accept(params, found.run_id)
    assert check_drift(project, params, str(place), scratch).report.outcome == NO_DRIFT


def test_a_check_of_too_few_clips_is_repeated(project, params, tmp_path):
    place = videos(tmp_path / "production", range(20, 25))
    few = check_drift(project, params, str(place), project / ".scratch")
    assert (few.report.outcome, few.report.clips) == (TOO_FEW, 5)
    assert check_drift(project, params, str(place), project / ".scratch").new
    with pytest.raises(CacError, match="compared nothing"):
        accept(params, few.run_id)


def test_at_most_max_clips_are_scored(project, params, judge, tmp_path):
    place = videos(tmp_path / "production", DARK)
    fewer = params.monitoring.model_copy(update={"max_clips": 20})
    found = check_drift(project, params.model_copy(update={"monitoring": fewer}), str(place), project / ".scratch")
    assert found.report.clips == sum(judge.batches) == 20


@pytest.mark.parametrize(("source", "message"), [("nowhere", "no folder at nowhere"), (".", "no videos below")])
def test_a_wrong_source_is_a_clear_error(project, params, source, message):
    with pytest.raises(CacError, match=message):
        check_drift(project, params, source, project / ".scratch")


def test_drift_check_and_accept_on_the_command_line(project, tmp_path, capsys):
    params = Path(__file__).parents[2] / "params.yaml"
    (project / "params.yaml").write_text(params.read_text().replace("min_clips: 100", "min_clips: 20"))
    place = videos(tmp_path / "production", DARK)
    out, picture = project / "report.json", project / "new" / "drift.png"
    assert cli.main(["drift", "check", str(place), "--out", str(out), "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert "drift: 24 clips" in printed
    assert "median" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")
    run = json.loads(out.read_text())["run_id"]
    assert cli.main(["drift", "accept", run]) == 0
    assert cli.main(["drift", "accept", "none"]) == 2
    assert "is not a drift check" in capsys.readouterr().err
