import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers.tiny_versions import Tiny, answers, write_evaluation

from cac.errors import CacError
from cac.model.calibration import Calibration
from cac.paths import EVALUATION_METRICS
from cac.registry import register as register_module
from cac.registry.candidate import ADAPTER, CALIBRATION
from cac.registry.predictions import PREDICTIONS_FILE, load_predictions
from cac.registry.promote import promote
from cac.registry.register import register
from cac.registry.versions import SUPERSEDED
from cac.schema.annotations import write_clips
from cac.tracking.dvc_files import md5_of
from cac.tracking.lineage import outputs_from_tags
from cac.tracking.mlflow_runs import connect
from cac.video.encode import encode

pytestmark = pytest.mark.slow

FITTED = Calibration(1.5, 0.2)
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt")


@pytest.fixture
def trained(project, on_base, checkpoint):
    """A project as `dvc repro` leaves it, and its settings."""
    shutil.copytree(checkpoint[1], project / ADAPTER)
    clips = answers(Tiny(pairs=10)).clips
    (project / "data" / "clips").mkdir(parents=True)
    write_clips(project / "data", clips)
    evaluate(project, missed=4)
    (project / "data.dvc").write_text("outs:\n- md5: abc.dir\n  path: data\n")
    frames = np.linspace(0, 255, 12 * 48 * 48 * 3).astype(np.uint8).reshape(12, 48, 48, 3)
    encode(project / "clip.mp4", frames, fps=8)
    for clip in clips:
        shutil.copy(project / "clip.mp4", project / "data" / clip.path)
    return project, on_base


def evaluate(project, missed):
    """Balanced accuracy is 1 - missed / 20."""
    write_evaluation(project, answers(Tiny(pairs=10, missed=range(missed)), FITTED), FITTED)


def register_cut_off(project, params):
    """Register, interrupted just before the version is marked as complete."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(register_module, "_complete", interrupt)
        with pytest.raises(KeyboardInterrupt):
            register(project, params)


def versions(params):
    found = connect().search_model_versions(f"name = '{params.registry.model_name}'")
    return {str(version.version): version for version in found}


def test_registering_again_makes_nothing_and_other_numbers_make_a_version(trained):
    import mlflow

    project, params = trained
    first = register(project, params)
    assert (first.version, first.created) == ("1", True)
    again = register(project, params)
    assert (again.version, again.key, again.created) == ("1", first.key, False)
    experiment = connect().get_experiment_by_name(params.registry.experiment)
    assert len(connect().search_runs([experiment.experiment_id])) == 1
    promote(params, first.version)

    evaluate(project, missed=3)
    second = register(project, params)
    assert (second.version, second.created) == ("2", True)

    loaded = [mlflow.pyfunc.load_model(uri) for uri in ("models:/cac-reward-model@champion", second.uri)]
    clip = str(project / "clip.mp4")
    tables = [model.predict([{"video": clip}, {"video": clip}], params={"batch_size": 1}) for model in loaded]
    assert [list(table["model_version"]) for table in tables] == [["1", "1"], ["2", "2"]]
    assert list(tables[0].columns) == loaded[0].metadata.get_output_schema().input_names()
    pd.testing.assert_frame_equal(tables[0], loaded[0].predict(pd.DataFrame({"video": [clip, clip]})))


def test_a_version_is_described_tagged_free_of_pickle_and_loads_elsewhere(trained, tmp_path_factory):
    project, params = trained
    promote(params, register(project, params).version)
    version = versions(params)["1"]
    assert version.tags["registration"] == "complete"
    assert version.tags["data_md5"] == "abc.dir"
    assert version.tags["test_balanced_accuracy"] == "0.8"
    assert "| balanced accuracy | 0.800 [0.800, 0.800] |" in version.description
    (model,) = (project / ".mlflow" / "artifacts" / "models").iterdir()
    files = {path.name for path in model.rglob("*") if path.is_file()}
    assert {
        "MODEL_CARD.md",
        "MODEL_CARD.html",
        "example-1.png",
        "pyfunc_model.py",
        "adapter_model.safetensors",
        "reward_model.json",
    } <= files
    assert not [name for name in files if name.endswith(PICKLES)]
    logged = {file.path for file in connect().list_artifacts(version.run_id, "model_card")}
    assert logged == {"model_card/MODEL_CARD.md", "model_card/MODEL_CARD.html", "model_card/images"}
    pyfunc = yaml.safe_load(next(model.rglob("MLmodel")).read_text())["flavors"]["python_function"]
    assert pyfunc["loader_module"] == "mlflow.pyfunc.loaders.code_model"
    assert "python_model" not in pyfunc

    code = (
        "import sys, json, mlflow\n"
        "rows = mlflow.pyfunc.load_model('models:/cac-reward-model@champion').predict([{'video': sys.argv[1]}])\n"
        "print(rows.to_json(orient='records'))"
    )
    store = f"sqlite:///{project}/.mlflow/mlflow.db"
    done = subprocess.run(
        [sys.executable, "-c", code, str(project / "clip.mp4")],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={**os.environ, "MLFLOW_TRACKING_URI": store, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])
    assert 0 <= row["score"] <= 1
    assert row["model_version"] == "1"


def test_a_registration_cut_off_is_finished_or_superseded_never_doubled(trained):
    project, params = trained
    register_cut_off(project, params)
    with pytest.raises(CacError, match="not complete"):
        promote(params, "1")
    finished = register(project, params)
    assert (finished.version, list(versions(params))) == ("1", ["1"])
    assert promote(params, "1").passed

    evaluate(project, missed=2)
    register_cut_off(project, params)
    for package in (project / ".mlflow" / "artifacts" / "models").rglob("package"):
        shutil.rmtree(package)
    assert register(project, params).version == "3"
    assert versions(params)["2"].tags["registration"] == SUPERSEDED


def test_a_version_carries_its_answers_and_how_long_a_clip_takes(trained):
    project, params = trained
    register(project, params)
    version = versions(params)["1"]
    expected = answers(Tiny(pairs=10, missed=range(4)), FITTED)
    assert version.tags["evaluation_set"] == expected.evaluation_set
    assert load_predictions(connect(), version, expected.evaluation_set) == expected
    assert load_predictions(connect(), version, "0" * 64) is None
    assert float(version.tags["seconds_per_clip"]) > 0
    assert float(version.tags["test_expected_calibration_error"]) == pytest.approx(0.149, abs=1e-3)


def test_answers_and_metrics_of_two_evaluations_are_not_registered_together(trained):
    project, params = trained
    metrics = (project / EVALUATION_METRICS).read_text()
    evaluate(project, missed=3)
    (project / EVALUATION_METRICS).write_text(metrics)
    with pytest.raises(CacError, match=r"balanced_accuracy 0\.85, but the metrics say 0\.8"):
        register(project, params)
    assert versions(params) == {}


def test_annotations_that_changed_since_the_evaluation_are_noticed(trained):
    project, params = trained
    manifest = project / "data" / "annotations.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(CacError, match="not of the same clips"):
        register(project, params)


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        (
            EVALUATION_METRICS,
            '{"test": {"two_turn_grpo": {"specificity": {"value": 1.0}}}}',
            "lacks balanced_accuracy, parse_rate, expected",
        ),
        (EVALUATION_METRICS, "{", "not valid JSON"),
        (CALIBRATION, "{}", "no temperature, bias and threshold of"),
        (PREDICTIONS_FILE, None, "cannot read .*predictions"),
        (PREDICTIONS_FILE, "{", "predictions.jsonl is not valid JSON"),
        (PREDICTIONS_FILE, "", "not of the same clips"),
        (ADAPTER / "adapter_config.json", None, "no adapter"),
        (EVALUATION_METRICS, None, "cannot read"),
    ],
)
def test_an_incomplete_pipeline_is_told_what_is_missing(trained, path, content, message):
    project, params = trained
    (project / path).unlink()
    if content is not None:
        (project / path).write_text(content)
    with pytest.raises(CacError, match=message):
        register(project, params)
    assert versions(params) == {}


def commit(project):
    """Commit all of the project but its store, as a user does."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for arguments in (("init", "--quiet"), ("add", "--all"), (*identity, "commit", "--quiet", "-m", "state")):
        subprocess.run(("git", "-C", str(project), *arguments), check=True, capture_output=True)


def test_a_version_from_uncommitted_changes_gets_the_commit_that_holds_them(trained):
    project, params = trained
    (project / ".gitignore").write_text("/.mlflow\n")
    commit(project)
    (project / "notes").write_text("a change")
    first = register(project, params)
    dirty = versions(params)["1"].tags
    assert dirty["git_dirty"] == "true"

    commit(project)
    assert register(project, params) == register_module.RegisteredVersion(first.name, "1", first.key, created=False)
    clean = versions(params)["1"].tags
    assert clean["git_dirty"] == "false"
    assert clean["git_commit"] != dirty["git_commit"]

    (project / "notes").write_text("another change")
    register(project, params)
    assert versions(params)["1"].tags == clean


def test_a_version_carries_dvcs_hashes_of_each_stage(trained):
    project, params = trained
    made = md5_of(project / ADAPTER)
    entry = {"cmd": "x", "outs": [{"path": ADAPTER.as_posix(), "md5": made}]}
    (project / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"two_turn_grpo": entry}}))
    (project / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    register(project, params)
    version = versions(params)["1"]
    assert outputs_from_tags(version.tags) == {"two_turn_grpo": {ADAPTER.as_posix(): made}}
    lineage = json.loads(Path(connect().download_artifacts(version.run_id, "lineage.json")).read_text())
    assert lineage["stages"]["two_turn_grpo"]["outputs"] == {ADAPTER.as_posix(): made}
    assert lineage["data_md5"] == "abc.dir"

    (project / ADAPTER / "more.txt").write_text("not what was trained")
    with pytest.raises(CacError, match="lineage would be false"):
        register(project, params)
