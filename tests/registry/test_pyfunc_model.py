"""What the registered model takes and gives, through MLflow, with a real S3 store."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.s3_server import s3_server

from cac.errors import CacError
from cac.model.calibration import Calibration
from cac.model.package import PackageSettings, write_package
from cac.registry.candidate import LOADER
from cac.registry.pyfunc_model import RewardPyfunc, signature
from cac.registry.versions import COMPLETE, REGISTRATION_TAG
from cac.schema.score_row import COLUMNS, score_row
from cac.tracking.mlflow_runs import connect, experiment_id
from cac.video.decode import decode
from cac.video.encode import encode

NAME = "cac-reward-model"
PROMPT = "a ball rolls"


@pytest.fixture
def load(project, checkpoint, on_base):
    """Return what registers a version of its own calibration, loader and weights, and loads it."""
    import mlflow

    client = connect()
    client.create_registered_model(NAME)

    def make(bias: float, loader: Path = LOADER, noise: float = 0.0):
        adapter, package = project / f"adapter{bias}", project / f"package{bias}"
        shutil.copytree(checkpoint[1], adapter)
        _disturb(adapter, noise)
        write_package(package, adapter, PackageSettings(on_base.model, on_base.frames, Calibration(1.0, bias), 8))
        with mlflow.start_run(experiment_id=experiment_id(client, "pyfunc")):
            info = mlflow.pyfunc.log_model(
                name=NAME,
                python_model=str(loader),
                artifacts={"package": str(package)},
                signature=signature(),
                pip_requirements=[],
            )
        tags = {REGISTRATION_TAG: COMPLETE}
        version = client.create_model_version(NAME, f"models:/{info.model_id}", tags=tags, model_id=info.model_id)
        return mlflow.pyfunc.load_model(f"models:/{NAME}/{version.version}")

    return make


def _disturb(adapter: Path, noise: float) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: value + noise for name, value in weights.items()}, adapter / "adapter_model.safetensors")


@pytest.fixture
def clip(tmp_path) -> Path:
    encode(tmp_path / "clip.mp4", np.linspace(0, 255, 12 * 48 * 48 * 3).astype(np.uint8).reshape(12, 48, 48, 3), fps=8)
    return tmp_path / "clip.mp4"


@pytest.fixture
def s3(tmp_path, monkeypatch, clip) -> str:
    """A real store with the clip in it, its address in the environment; yields the clip's address."""
    (tmp_path / "store" / "bucket").mkdir(parents=True)
    shutil.copy(clip, tmp_path / "store" / "bucket" / "clip.mp4")
    with s3_server(tmp_path / "store") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield "s3://bucket/clip.mp4"


def test_every_form_of_a_video_gets_the_same_answer(load, clip, s3):
    model = load(0.3)
    video, video_bytes = decode(clip), clip.read_bytes()
    forms = [
        {"video": str(clip), "prompt": PROMPT},
        {"video": clip},
        {"video": video_bytes},
        {"video": s3},
        {"video": video.frames, "fps": 8},
    ]
    table = model.predict(forms, params={"batch_size": 2})
    assert list(table["prompt"]) == [PROMPT, None, None, None, None]
    assert len({tuple(map(str, row)) for row in table.drop(columns="prompt").round(6).itertuples(index=False)}) == 1
    frame = pd.DataFrame({"video": [video.frames, video.frames], "fps": [8, 8]}, index=[7, 7])
    assert list(model.predict(frame)["score"].round(6)) == list(table["score"].round(6)[:2])
    plain = model.predict([str(clip), video_bytes])
    assert list(plain["score"].round(6)) == list(table["score"].round(6)[:2])
    assert set(table.columns) == {*COLUMNS, "prompt"}
    inner = model.unwrap_python_model()._model
    (judgement,) = inner.judge([video])
    served = score_row(inner.score(judgement), judgement, inner.calibration.threshold, table["model"][0])
    assert served.pop("score") == pytest.approx(table["score"][0], abs=1e-6)
    assert served == {name: table[name][0] for name in served}, "the server and batch scoring say the same"
    assert list(table.columns) == model.metadata.get_output_schema().input_names()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"video": "nowhere.mp4"}, r"row 2: no video file at nowhere\.mp4"),
        ({"video": b"text"}, "row 2: the given content cannot be decoded"),
        ({"video": None}, "row 2: NoneType is no video"),
        ({"video": np.zeros((4, 8, 8, 3), np.uint8)}, "row 2: an array's frame rate is None"),
        ({"video": np.zeros((4, 8, 8, 3), np.uint8), "fps": "8"}, "row 2: an array's frame rate is 8"),
        ({"video": np.zeros((4, 8, 8, 3)), "fps": 8}, "row 2: an array of float64"),
        ({"video": np.zeros((8, 8, 3), np.uint8), "fps": 8}, "row 2: an array of uint8"),
        ({"video": b"x", "fps": 8}, "row 2: fps 8.* was given with a video file"),
        ({"video": "https://example.org/a.mp4"}, "row 2: https://example.org/a.mp4 is not read"),
        ({"video": "s3://bucket/nothing.mp4"}, "row 2: s3://bucket/nothing.mp4: .*NoSuchKey.* does not exist"),
    ],
)
def test_a_bad_row_is_named(clip, s3, bad, message):
    """Without a model: rows are read before anything is judged."""
    rows = pd.DataFrame([{"video": str(clip)}, {"video": str(clip)}, bad])
    with pytest.raises(CacError, match=message):
        RewardPyfunc().predict(None, rows, {"batch_size": 8})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("clip.mp4", "str is no input. Give a list of videos"),
        (pd.DataFrame({"path": ["clip.mp4"]}), r"unknown columns \['path'\]; those there are: video, fps, prompt"),
        ([{"video": "clip.mp4", "speed": 8}], r"unknown columns \['speed'\]"),
    ],
)
def test_what_is_no_input_is_refused(bad, message):
    with pytest.raises(CacError, match=message):
        RewardPyfunc().predict(None, bad)


def test_a_store_that_does_not_answer_is_a_clear_error(s3, monkeypatch):
    from cac.video.inputs import read_video

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(CacError, match="Check AWS_ENDPOINT_URL_S3"):
        read_video(s3)


def test_champion_and_challenger_stay_different_in_one_process(load, clip, project):
    """They differ in calibration, in weights, and in the code they were registered with."""
    other = project / "loader" / LOADER.name
    other.parent.mkdir()
    other.write_text(LOADER.read_text().replace('"evidence": judgement.look_text', '"evidence": "of other code"'))
    champion = load(2.0)
    first = champion.predict([{"video": str(clip)}])
    challenger = load(-2.0, other, noise=0.5)
    tables = [model.predict([{"video": str(clip)}]) for model in (champion, challenger, champion)]
    pd.testing.assert_frame_equal(first, tables[2])
    pd.testing.assert_frame_equal(first, tables[0])
    assert tables[0]["score"][0] > 0.5 > tables[1]["score"][0]
    assert tables[1]["evidence"][0] == "of other code" != tables[0]["evidence"][0]
    assert [table["model_version"][0] for table in tables] == ["1", "2", "1"]
    weights = [dict(model.unwrap_python_model()._model.model.named_parameters()) for model in (champion, challenger)]
    assert any(not weights[0][name].equal(weights[1][name]) for name in weights[0])
