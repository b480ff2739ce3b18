"""The facts checks rest on: reading a manifest that is not there, and which frames a window holds."""

from pathlib import Path

import pytest

from cac.data.validation.facts_table import gather_facts
from cac.errors import CacError
from cac.schema.annotations import MANIFEST_NAME, Anomaly, FrameBox, window_frames
from cac.schema.taxonomy import Family


def test_missing_dataset_or_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CacError, match=r"no dataset folder for .*nowhere"):
        gather_facts(tmp_path / "nowhere")
    with pytest.raises(CacError, match=r"no manifest at .*annotations\.jsonl"):
        gather_facts(tmp_path)
    (tmp_path / MANIFEST_NAME).write_text("", encoding="utf-8")
    with pytest.raises(CacError, match="is empty"):
        gather_facts(tmp_path)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ((0.25, 0.625), [2, 3, 4]),
        ((0.2, 0.63), [2, 3, 4, 5]),
        ((0.25 + 1e-7, 0.625 + 1e-7), [2, 3, 4]),
        ((0.8, 9), [7]),
    ],
)
def test_window_frames(window: tuple[float, float], expected: list[int]) -> None:
    box = FrameBox(frame=0, box=(0.0, 0.0, 1.0, 1.0))
    anomaly = Anomaly(family=Family.TEMPORAL, leaf="vanishing", window=window, boxes=(box,), saliency=1.0)
    assert list(window_frames(anomaly, 8.0, 8)) == expected
