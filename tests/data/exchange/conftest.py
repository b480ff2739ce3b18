"""Small real videos, made once, and one call that imports something of them."""

import json
from pathlib import Path

import pytest
from helpers.exchange_cases import LABELS, UNICODE, Imported, Importer, small_video

from cac.data.exchange.import_ import ImportRequest, import_dataset
from cac.data.exchange.report import REPORT_NAME
from cac.schema.annotations import read_clips
from cac.video.encode import encode


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of 24 frames at 8 frames a second, 64 by 48 pixels; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "sub").mkdir()
    for seed, name in enumerate(("a.mp4", "b.mp4", "sub/c.mp4", UNICODE)):
        encode(folder / name, small_video(seed), 8)
    return folder


@pytest.fixture
def take(videos: Path, tmp_path: Path) -> Importer:
    """Return a function that imports a source with the shared videos and label map, unless told otherwise."""

    def import_it(name: str, source: Path, labels: str = LABELS, **others: object) -> Imported:
        label_file = tmp_path / "labels.yaml"
        label_file.write_text(labels, encoding="utf-8")
        settings = {
            "videos": videos,
            "out": tmp_path / "out",
            "val_ratio": 0.15,
            "test_ratio": 0.2,
            "overwrite": True,
        } | others
        import_dataset(ImportRequest(name, source, labels=label_file, **settings))  # type: ignore[arg-type]
        out = settings["out"]
        assert isinstance(out, Path)
        report = json.loads((out / REPORT_NAME).read_text())
        return Imported(out, {clip.clip_id: clip for clip in read_clips(out)}, report)

    return import_it
