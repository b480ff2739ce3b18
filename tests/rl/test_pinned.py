"""What is pinned stays, in a real MLflow store whose alias moves."""

import logging
import shutil

import pytest
from rl_clips import DARK, MOTION, moving

from cac.errors import CacError
from cac.registry.register import COMPLETE, INCOMPLETE, LOADER, REGISTRATION_TAG
from cac.registry.tracking import connect, experiment_id
from cac.rl.pinned import pin, pin_package, resolve_version
from cac.rl.reward import Rewarder, RewardSettings

NAME = "judge"
CHAMPION = f"models:/{NAME}@champion"


@pytest.fixture(scope="module")
def store(tmp_path_factory, package, pack, judging_base):
    """A store with two complete versions, the second of another calibration, and one that was cut off."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("store")
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        client = connect()
        client.create_registered_model(NAME)
        other = pack(judging_base, -3.0)
        for made, state in ((package, COMPLETE), (other, COMPLETE), (package, INCOMPLETE)):
            _register(client, made, state)
        yield client


def _register(client, package, state):
    import mlflow

    from cac.registry.pyfunc_model import signature

    with mlflow.start_run(experiment_id=experiment_id(client, "pinned")):
        info = mlflow.pyfunc.log_model(
            name=NAME,
            python_model=str(LOADER),
            artifacts={"package": str(package)},
            signature=signature(),
            pip_requirements=[],
        )
    tags = {REGISTRATION_TAG: state}
    client.create_model_version(NAME, f"models:/{info.model_id}", tags=tags, model_id=info.model_id)


@pytest.fixture(autouse=True)
def champion(store):
    store.set_registered_model_alias(NAME, "champion", "1")


def test_a_run_keeps_its_version_though_the_alias_moves(store, caplog):
    with caplog.at_level(logging.INFO):
        pinned = pin(CHAMPION)
    assert pinned.source == f"models:/{NAME}/1"
    assert f"models:/{NAME}/1 for this run (asked for: {CHAMPION})" in caplog.text
    rewarder = Rewarder(pinned, RewardSettings(MOTION))
    clips = [moving(DARK), moving(60)]
    before = rewarder(clips)
    store.set_registered_model_alias(NAME, "champion", "2")
    assert rewarder(clips) == before
    assert pinned.source == f"models:/{NAME}/1"

    later = Rewarder(pin(CHAMPION), RewardSettings(MOTION))
    assert later.pinned.source == f"models:/{NAME}/2"
    assert later(clips)[0].score < before[0].score - 0.2, "the alias does name another model now"
    resumed = Rewarder(pin(pinned.source), RewardSettings(MOTION))
    assert resumed(clips) == before


def test_a_version_is_that_of_its_package(store, package):
    clip = moving(DARK)
    assert pin(f"models:/{NAME}/1").judge([clip], 1) == pin_package(package).judge([clip], 1)
    assert pin_package(package).source == str(package)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (f"models:/{NAME}/latest", "can't be pinned"),
        (f"models:/{NAME}", "can't be pinned"),
        ("champion", "can't be pinned"),
        (f"models:/{NAME}@challenger", r"no alias 'challenger' \(it has: champion\)"),
        ("models:/nobody@champion", r"no alias 'champion' \(it has: none\)"),
        (f"models:/{NAME}/9", "no version 9"),
        (f"models:/{NAME}/3", "not complete"),
    ],
)
def test_what_names_no_whole_version_is_refused(store, uri, message):
    with pytest.raises(CacError, match=message):
        resolve_version(uri)


def test_a_version_whose_files_are_gone_is_a_clear_error(store, tmp_path):
    source = store.get_model_version(NAME, "2").source
    folder = store.get_logged_model(source.removeprefix("models:/")).artifact_location.removeprefix("file://")
    shutil.move(folder, tmp_path / "away")
    try:
        with pytest.raises(CacError, match=f"no model at models:/{NAME}/2"):
            pin(f"models:/{NAME}/2")
    finally:
        shutil.move(tmp_path / "away", folder)
