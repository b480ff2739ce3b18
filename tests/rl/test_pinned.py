"""What is pinned stays, in a real MLflow store whose alias moves."""

import logging
import shutil

import pytest
from helpers.rl_clips import DARK, MOTION, moving
from helpers.rl_store import NAME

from cac.errors import CacError
from cac.registry.model_uri import resolve_version
from cac.registry.pinned import pin, pin_package
from cac.rl.reward import Rewarder, RewardSettings

pytestmark = pytest.mark.slow

CHAMPION = f"models:/{NAME}@champion"


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


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_named(store, device):
    with pytest.raises(CacError, match=f"cannot be put on the device '{device}'"):
        pin(CHAMPION, device)
