"""Validation beyond the default: the manifest alone, drift since a version, near duplicates, several annotators."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.validation_cases import BOUNDS, FPS, GOOD, failures, hash_of, make_pair, result, write

from cac.cli.main import main
from cac.data.validation.annotator_agreement import OPINIONS_NAME
from cac.data.validation.drift import Reference, profile_of
from cac.data.validation.validate import validate
from cac.errors import CacError
from cac.schema.annotations import read_clips
from cac.video.decode import decode
from cac.video.encode import encode

PARAMS = Path(__file__).parents[3] / "params.yaml"


@pytest.fixture
def clips() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def dataset(tmp_path: Path, clips: list[dict[str, Any]]) -> Path:
    """A good dataset; `clips` are its annotations, to be changed and written again."""
    clips += [clip for name, (split, leaf) in GOOD.items() for clip in make_pair(tmp_path / "data", name, split, leaf)]
    write(tmp_path / "data", clips)
    return tmp_path / "data"


def found_by(out: Path, check: str) -> dict[str, str]:
    return {one["clip_id"]: one["found"] for one in failures(out) if one["check"] == check}


def test_the_manifest_alone_is_checked_without_a_video(
    dataset: Path, clips: list[dict[str, Any]], tmp_path: Path
) -> None:
    shutil.rmtree(dataset / "clips")
    validate(dataset, BOUNDS, tmp_path / "out", files=False)
    names = {check["check"] for check in result(tmp_path / "out")["checks"]}
    assert {"file", "decodable", "sha256", "near_duplicate"} <= set(result(tmp_path / "out")["not_checked"])
    assert not names & set(result(tmp_path / "out")["not_checked"])
    clips[1]["split"], clips[3]["sha256"] = "val", clips[4]["sha256"]
    clips[5]["anomalies"][0]["boxes"].pop()
    write(dataset, clips)
    with pytest.raises(CacError, match=r"boxes_complete \(1\), pair_leak \(2\), file_leak \(2\)"):
        validate(dataset, BOUNDS, tmp_path / "out", files=False)


def test_a_copy_that_was_encoded_again_is_found_in_another_split(
    dataset: Path, clips: list[dict[str, Any]], tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    drawn = np.kron(rng.integers(0, 255, (8, 8, 8, 3), dtype=np.uint8), np.ones((1, 4, 4, 1), np.uint8))
    encode(dataset / clips[0]["path"], drawn, FPS)
    again = decode(dataset / clips[0]["path"]).frames
    encode(dataset / clips[4]["path"], again, FPS, pix_fmt="yuv420p")
    for clip in (clips[0], clips[4]):
        clip["sha256"] = hash_of(dataset / clip["path"])
    assert clips[0]["sha256"] != clips[4]["sha256"]
    write(dataset, clips)
    validate(dataset, BOUNDS, tmp_path / "out")
    found = found_by(tmp_path / "out", "near_duplicate")
    assert found.keys() == {"p0-ok", "p2-ok"}
    assert found["p0-ok"].startswith("p2-ok in val: ")


def test_drift_is_measured_only_from_a_reference_that_is_named(
    dataset: Path, clips: list[dict[str, Any]], tmp_path: Path
) -> None:
    validate(dataset, BOUNDS, tmp_path / "out", files=False)
    assert result(tmp_path / "out")["drift"]["reference"] is None
    assert "--reference" in result(tmp_path / "out")["drift"]["skipped"]
    before = Reference("before", profile_of(read_clips(dataset)))
    for clip in clips[1::2]:
        clip["anomalies"][0]["boxes"] = [box | {"box": [0, 0, 1, 1]} for box in clip["anomalies"][0]["boxes"]]
    write(dataset, clips)
    validate(dataset, BOUNDS, tmp_path / "out", before, files=False)
    measures = {one["measure"]: one for one in result(tmp_path / "out")["drift"]["measures"]}
    assert measures["duration"]["drift"] == 0
    assert (measures["box_area"]["drift"], measures["box_area"]["after"]["median"]) == (1.0, 1.0)
    assert [(one["check"], one["suite"], one["found"]) for one in failures(tmp_path / "out")] == [
        ("drift_of_box_area", "warning", 1.0)
    ]


def test_annotators_who_disagree_are_a_warning_and_a_bad_opinion_blocks(
    dataset: Path, clips: list[dict[str, Any]], tmp_path: Path
) -> None:
    anna = {"clip_id": "p0-bad", "annotator": "anna", "anomalies": clips[1]["anomalies"]}
    ben = {"clip_id": "p0-bad", "annotator": "ben <b>", "anomalies": []}
    opinions = dataset / OPINIONS_NAME
    opinions.write_text("\n".join(map(json.dumps, (anna, ben))), encoding="utf-8")
    validate(dataset, BOUNDS, tmp_path / "out", files=False)
    assert found_by(tmp_path / "out", "annotators") == {
        "p0-bad": "agreement 0.00: anna extra_limb 0.25 to 0.625 s, ben <b> nothing"
    }
    assert result(tmp_path / "out")["annotators"]["mean_agreement"] == 0
    opinions.write_text("\n".join(map(json.dumps, (anna, ben, {}))), encoding="utf-8")
    with pytest.raises(CacError, match=r"opinion \(1\)"):
        validate(dataset, BOUNDS, tmp_path / "out", files=False)
    [failure] = [one for one in failures(tmp_path / "out") if one["check"] == "opinion"]
    assert failure["line"] is None
    assert failure["found"].startswith("line 3: ")


def test_the_command_takes_a_folder_as_reference_and_another_place(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = yaml.safe_load(PARAMS.read_text())
    settings["validation"].update(BOUNDS.model_dump())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    shutil.copytree(dataset, tmp_path / "old")
    command = ["data", "validate", "--data", str(dataset), "--reference", "old", "--manifest-only"]
    assert main(command) == 0
    assert result(tmp_path / "reports/validation_manifest")["drift"]["reference"] == "old"
    assert not (tmp_path / "reports/validation").exists()
    assert main([*command[:-2], "no-such-version", "--out", "here"]) == 2
    assert not (tmp_path / "here").exists()
