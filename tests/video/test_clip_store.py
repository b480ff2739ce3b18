"""The store of decoded clips: it decodes a file once, and forgets the longest unused when it is full."""

from pathlib import Path

import numpy as np
import pytest

from cac.errors import CacError
from cac.schema.annotations import Clip
from cac.video.clip_store import ClipStore
from cac.video.encode import encode

FRAME_BYTES = 8 * 32 * 32 * 3


def make_clip(dataset: Path, name: str, value: int) -> Clip:
    (dataset / "clips").mkdir(exist_ok=True)
    encode(dataset / "clips" / f"{name}.mp4", np.full((8, 32, 32, 3), value, np.uint8), 8)
    values = {"clip_id": name, "path": f"clips/{name}.mp4", "sha256": "0" * 64, "fps": 8.0, "frame_count": 8}
    values |= {"width": 32, "height": 32, "source": "test", "generator": "test", "split": "train", "pair_id": name}
    return Clip.model_validate({**values, "anomalies": ()})


def test_a_clip_is_decoded_once(tmp_path: Path) -> None:
    clip = make_clip(tmp_path, "a", 100)
    store = ClipStore(tmp_path)
    first = store.video(clip)
    (tmp_path / clip.path).unlink()

    assert store.video(clip) is first
    assert first.frames.shape == (8, 32, 32, 3)
    assert abs(first.frames.mean() - 100) < 3


def test_a_full_store_forgets_the_longest_unused(tmp_path: Path) -> None:
    a, b, c = (make_clip(tmp_path, name, 80) for name in "abc")
    store = ClipStore(tmp_path, max_bytes=2 * FRAME_BYTES)
    kept = {clip.clip_id: store.video(clip) for clip in (a, b)}
    store.video(a)
    store.video(c)

    assert store.video(a) is kept["a"]
    assert store.video(b) is not kept["b"]


def test_a_clip_larger_than_the_store_is_still_given(tmp_path: Path) -> None:
    a, b = make_clip(tmp_path, "a", 60), make_clip(tmp_path, "b", 160)
    store = ClipStore(tmp_path, max_bytes=1)

    assert [round(store.video(clip).frames.mean(), -1) for clip in (a, b, a)] == [60, 160, 60]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    clip = make_clip(tmp_path, "a", 100)
    (tmp_path / clip.path).unlink()

    with pytest.raises(CacError, match=r"a\.mp4"):
        ClipStore(tmp_path).video(clip)
