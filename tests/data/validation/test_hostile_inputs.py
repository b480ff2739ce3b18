"""About two hundred hostile inputs in one dataset: none ends the batch, each is reported with a reason."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from helpers import hostile_files as hostile

from cac.data.exchange.import_ import ImportRequest, import_dataset
from cac.data.validation.validate import validate
from cac.errors import CacError
from cac.params import Validation
from cac.schema.annotations import MANIFEST_NAME

pytestmark = pytest.mark.slow

BOUNDS = Validation(
    min_clips_per_split=1,
    min_clean_ratio=0.0,
    max_clean_ratio=1.0,
    min_clips_per_family=1,
    max_duration=2.0,
    max_side=128,
    near_duplicate_distance=0.04,
    min_agreement=0.5,
    max_drift=0.1,
    reference=None,
)
GOOD_NAMES = ("plain", "ünïcödé 映像 🎬", "with space & <b>", "e\u0301 decomposed")
# Checks that say something of clips beside each other; most hostile clips are the same good file.
OF_OTHERS = {"pair", "file_duplicate", "file_leak", "near_duplicate", "unique_path"}


def good_clip(name: str, path: str, content: bytes) -> dict[str, Any]:
    clip: dict[str, Any] = {"clip_id": name, "path": path, "sha256": hashlib.sha256(content).hexdigest(), "fps": 8.0}
    clip |= {"frame_count": hostile.FRAMES, "width": hostile.SIZE, "height": hostile.SIZE, "source": "test"}
    return clip | {"generator": "test", "split": "train", "pair_id": name, "anomalies": []}


def expected_of(name: str) -> set[str]:
    """The checks of which at least one must have found what is wrong with an input of this name."""
    return hostile.EXPECTED[name.split()[0]]


def nameable(path: str) -> bool:
    """Whether a source can name a video so; another name makes the whole source a mistake."""
    return bool(path.strip()) and path == path.encode("utf-8", "replace").decode()


def manifest_lines(dataset: Path) -> dict[str, bytes]:
    """Write the files of all inputs, and return the manifest's line of each, by name."""
    clips, good = dataset / "clips", hostile.encoded()
    clips.mkdir(parents=True)
    made: dict[str, bytes] = {}
    for name in GOOD_NAMES:
        (clips / f"{name}.mp4").write_bytes(good)
        made[name] = hostile.as_line(good_clip(name, f"clips/{name}.mp4", good))
    for name, content in hostile.files(good):
        path = clips / f"{len(made):03d}.mp4"
        path.write_bytes(content)
        # Cut and damaged files were annotated when they were whole; the others are what their annotation says.
        told = good if name.split()[0] in ("cut", "damaged") else content
        made[name] = hostile.as_line(good_clip(name, f"clips/{path.name}", told))
    for place in hostile.places(clips):
        made[f"place {place}"] = hostile.as_line(good_clip(place, f"clips/{place}", good))
    for name, change in hostile.lines():
        made[name] = hostile.as_line(change(good_clip(name, f"clips/{GOOD_NAMES[0]}.mp4", good)))
    return made


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What was found of each input, {check: found}, by its name."""
    folder = tmp_path_factory.mktemp("hostile")
    made = manifest_lines(folder / "data")
    (folder / "data" / MANIFEST_NAME).write_bytes(b"\n".join(made.values()) + b"\n")
    with pytest.raises(CacError, match="blocking checks"):
        validate(folder / "data", BOUNDS, folder / "out")
    findings: dict[str, dict[str, Any]] = {name: {} for name in made}
    names = list(made)
    for text in (folder / "out" / "failures.jsonl").read_text(encoding="utf-8").splitlines():
        finding = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        if finding["line"]:
            findings[names[finding["line"] - 1]][finding["check"]] = finding["found"]
    json.loads((folder / "out" / "result.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    return findings


def test_there_are_about_two_hundred(reported: dict[str, dict[str, Any]]) -> None:
    assert len(reported) - len(GOOD_NAMES) >= 200


def test_each_is_reported_for_what_is_wrong_with_it(reported: dict[str, dict[str, Any]]) -> None:
    silent = {
        name: sorted(found)
        for name, found in reported.items()
        if name not in GOOD_NAMES and not any(isinstance(found.get(check), str) for check in expected_of(name))
    }
    assert silent == {}


def test_good_neighbours_are_not_blamed(reported: dict[str, dict[str, Any]]) -> None:
    assert {name: found.keys() - OF_OTHERS for name, found in reported.items() if name in GOOD_NAMES} == {
        name: set() for name in GOOD_NAMES
    }


def test_findings_stay_short(reported: dict[str, dict[str, Any]]) -> None:
    assert max(len(str(found)) for one in reported.values() for found in one.values()) < 1100


def test_an_import_keeps_what_can_be_mended_and_refuses_the_rest(tmp_path: Path) -> None:
    """Hostile videos named by a COCO file; a variable rate and a noted rotation are no reason to refuse."""
    (tmp_path / "videos").mkdir()
    good = hostile.encoded()
    names: dict[str, str] = {}
    for name, content in hostile.files(good):
        if not name.startswith("large"):
            names[f"{len(names):03d}.mp4"] = name
            (tmp_path / "videos" / f"{len(names) - 1:03d}.mp4").write_bytes(content)
    listed = [{"id": number, "name": name} for number, name in enumerate((*names, *filter(nameable, hostile.PATHS)))]
    source = tmp_path / "source.json"
    source.write_text(json.dumps({"videos": listed, "images": [], "annotations": [], "categories": []}))
    report = import_dataset(ImportRequest("coco", source, tmp_path / "videos", None, tmp_path / "out", 0.0, 0.0))
    refused = {video for videos in report.refused_videos.values() for video in videos}
    kept = {name for video, name in names.items() if video not in refused}
    assert kept >= {name for name in names.values() if name.startswith(("uneven", "turned", "resized"))}
    assert not {name for name in kept if name.startswith(("junk", "empty", "cut at"))}
    assert report.copied + report.encoded + sum(map(len, report.refused_videos.values())) == report.videos
    assert refused >= {*filter(nameable, hostile.PATHS)}
    assert all(reason.strip() for reason in report.refused_videos)


@pytest.mark.parametrize(
    ("form", "suffix", "content"),
    [
        *(("cvat", ".xml", content) for content in (
            hostile.BILLION_LAUGHS, b"", b"<", b"\x00" * 99, b"PK\x03\x04", b"<a>" * 50_000,
            b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations><meta>&x;</meta></annotations>',
            b'<?xml version="1.0" encoding="no-such"?><annotations/>',
        )),
        *((form, ".json", content) for form in ("coco", "label-studio", "skyra") for content in (
            b"", b"[" * 100_000, b"\xff", b'{"a": ' + b"9" * 10_000 + b"}", b"null", b"NaN", b"[[]]", b'{"videos": 7}',
        )),
    ],
)  # fmt: skip
def test_a_hostile_export_is_a_mistake_with_a_reason(form: str, suffix: str, content: bytes, tmp_path: Path) -> None:
    source = tmp_path / f"source{suffix}"
    source.write_bytes(content)
    (tmp_path / "videos").mkdir()
    with pytest.raises(CacError) as raised:
        import_dataset(ImportRequest(form, source, tmp_path / "videos", None, tmp_path / "out", 0.1, 0.1))
    assert 20 < len(str(raised.value)) < 1000
    assert not (tmp_path / "out").exists()
