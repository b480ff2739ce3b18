"""The manifest: what is written is read back to the byte, and a line that is no valid clip is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cac.errors import CacError
from cac.schema.annotations import MANIFEST_NAME, Clip, parse_clip, read_clips, write_clips
from cac.schema.taxonomy import Family

Values = dict[str, Any]


def anomaly_values(leaf: str = "vanishing", window: tuple[float, float] = (0.25, 0.5)) -> Values:
    boxes = [{"frame": frame, "box": [0.1, 0.2, 0.5, 0.75]} for frame in (2, 3)]
    return {
        "family": "temporal_inconsistency",
        "leaf": leaf,
        "window": list(window),
        "boxes": boxes,
        "saliency": 0.5,
    }


def clip_values(clip_id: str = "a") -> Values:
    values = {"clip_id": clip_id, "path": f"clips/{clip_id}.mp4", "sha256": "0f" * 32, "fps": 8.0, "frame_count": 20}
    values |= {"width": 96, "height": 64, "source": "test", "generator": "Ünicode", "split": "train", "pair_id": "p"}
    return {**values, "anomalies": [anomaly_values()]}


def make_clip(clip_id: str = "a", **changes: object) -> Clip:
    return parse_clip(json.dumps({**clip_values(clip_id), **changes}), "test")


def test_clips_are_read_as_they_were_written_and_written_to_the_same_bytes(tmp_path: Path) -> None:
    clips = [make_clip("b"), make_clip("a", anomalies=[], fps=30000 / 1001), make_clip("c", split="val")]
    write_clips(tmp_path, clips)
    written = (tmp_path / MANIFEST_NAME).read_bytes()
    read = read_clips(tmp_path)
    write_clips(tmp_path, iter(read))

    assert read == clips
    assert (tmp_path / MANIFEST_NAME).read_bytes() == written
    assert len(written.splitlines()) == 3


def test_a_clip_is_read_with_its_types() -> None:
    clip = make_clip()

    assert clip.anomalies[0].family is Family.TEMPORAL
    assert clip.anomalies[0].boxes[1].box == (0.1, 0.2, 0.5, 0.75)
    assert clip.generator == "Ünicode"


def test_what_a_clip_tells() -> None:
    anomalies = [
        anomaly_values(window=(1.0, 2.0)),
        anomaly_values("shape_morph", (0.25, 0.5)),
        anomaly_values(window=(0.4, 0.75)),
    ]
    clip = make_clip(anomalies=anomalies[:2])

    assert clip.duration == 2.5
    assert not clip.is_clean
    assert make_clip(anomalies=[]).is_clean
    assert clip.windows == [(0.25, 0.5), (1.0, 2.0)]
    assert make_clip(anomalies=anomalies).windows == [(0.25, 0.75), (1.0, 2.0)]
    assert clip.boxes_at(2) == [("vanishing", (0.1, 0.2, 0.5, 0.75)), ("shape_morph", (0.1, 0.2, 0.5, 0.75))]
    assert clip.boxes_at(4) == []


def test_one_split_is_read(tmp_path: Path) -> None:
    write_clips(tmp_path, [make_clip("a"), make_clip("b", split="test"), make_clip("c", split="test")])

    assert [clip.clip_id for clip in read_clips(tmp_path, "test")] == ["b", "c"]
    assert read_clips(tmp_path, "val") == []


def first_anomaly(values: Values) -> Values:
    return values["anomalies"][0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda v: v.update(fsp=8.0), "fsp: "),
        (lambda v: v.pop("sha256"), "sha256: "),
        (lambda v: v.update(sha256="0F" * 32), "sha256: "),
        (lambda v: v.update(sha256="0f"), "sha256: "),
        (lambda v: v.update(clip_id=""), "clip_id: "),
        (lambda v: v.update(clip_id=7), "clip_id: "),
        (lambda v: v.update(fps="8"), "fps: "),
        (lambda v: v.update(fps=0), "fps: "),
        (lambda v: v.update(fps=float("inf")), "fps: "),
        (lambda v: v.update(fps=True), "fps: "),
        (lambda v: v.update(frame_count=20.0), "frame_count: "),
        (lambda v: v.update(frame_count=0), "frame_count: "),
        (lambda v: v.update(width=-96), "width: "),
        (lambda v: v.update(split="dev"), "split: "),
        (lambda v: v.update(anomalies=None), "anomalies: "),
        (lambda v: first_anomaly(v).update(leaf="warp"), "anomalies.0: .*unknown leaf 'warp'; known leaves: .*vanish"),
        (lambda v: first_anomaly(v).update(leaf="teleport"), "'teleport' belongs to physical_violation"),
        (lambda v: first_anomaly(v).update(family="temporal"), "anomalies.0.family: "),
        (lambda v: first_anomaly(v).update(window=[0.1]), "anomalies.0.window"),
        (lambda v: first_anomaly(v).update(window=[0.1, float("nan")]), "anomalies.0.window.1: "),
        (lambda v: first_anomaly(v).update(window=[0.1, "0.5"]), "anomalies.0.window.1: "),
        (lambda v: first_anomaly(v).update(saliency=0), "anomalies.0.saliency: "),
        (lambda v: first_anomaly(v).update(saliency=1.1), "anomalies.0.saliency: "),
        (lambda v: first_anomaly(v).update(note="?"), "anomalies.0.note: "),
        (lambda v: first_anomaly(v)["boxes"][1].update(frame=-1), "anomalies.0.boxes.1.frame: "),
        (lambda v: first_anomaly(v)["boxes"][1].update(box=[0, 0, 1]), "anomalies.0.boxes.1.box"),
        (lambda v: first_anomaly(v)["boxes"][1].update(score=1), "anomalies.0.boxes.1.score: "),
    ],
)
def test_an_invalid_clip_is_refused_and_its_field_named(change: Callable[[Values], object], expected: str) -> None:
    values = clip_values()
    change(values)

    with pytest.raises(CacError, match=f"line 3: .*{expected}"):
        parse_clip(json.dumps(values), "line 3")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"a"',
        b"\xff\xfe{",
        b'{"clip_id": "\xff"}',
        b'{"fps": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_clip_is_named_by_its_number(tmp_path: Path, line: bytes) -> None:
    write_clips(tmp_path, [make_clip()])
    manifest = tmp_path / MANIFEST_NAME
    manifest.write_bytes(manifest.read_bytes() + line + b"\n")

    with pytest.raises(CacError, match=rf"{MANIFEST_NAME}:2: "):
        read_clips(tmp_path)


def test_a_missing_manifest_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CacError, match=rf"{MANIFEST_NAME}.*cac data build"):
        read_clips(tmp_path)
