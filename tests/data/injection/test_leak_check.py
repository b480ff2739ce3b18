"""The leak check: it finds a trace that is there, and none where there is none."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from cac.cli import main as cli
from cac.data.injection.leak_check import auroc, footage_groups, leak_check, paired
from cac.data.injection.pair import name_pair
from cac.errors import EXIT_REFUSED, CacError
from cac.schema.annotations import Anomaly, Clip, FrameBox, read_clips, write_clips
from cac.schema.taxonomy import family_of
from cac.video.encode import encode

pytestmark = pytest.mark.slow

ANOMALY = Anomaly(
    family=family_of("teleport"),
    leaf="teleport",
    window=(0.2, 0.4),
    boxes=(FrameBox(frame=2, box=(0.25, 0.25, 0.6, 0.6)), FrameBox(frame=3, box=(0.25, 0.25, 0.6, 0.6))),
    saliency=0.5,
)


def make_dataset(folder: Path, pairs: int, spoil) -> Path:
    (folder / "clips").mkdir(parents=True)
    rng, clips = np.random.default_rng(0), []
    for number in range(pairs):
        soft = cv2.GaussianBlur(rng.standard_normal((48, 48, 24)), (0, 0), rng.uniform(1, 3))
        scene = np.clip(128 + 40 * soft / soft.std(), 0, 255).astype(np.uint8)
        clean = np.stack([scene[..., t : t + 3] for t in range(8)])
        for kind, frames in (("anomalous", spoil(clean.copy(), rng)), ("clean", clean)):
            path = folder / "clips" / f"p{number:02d}-{kind}.mp4"
            encode(path, frames, 10)
            clips.append(
                Clip(
                    clip_id=path.stem, path=f"clips/{path.name}", sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                    fps=10.0, frame_count=8, width=48, height=48, source="s", generator="g", split="train",
                    pair_id=f"p{number:02d}", anomalies=(ANOMALY,) if kind == "anomalous" else (),
                )
            )  # fmt: skip
    write_clips(folder, clips)
    return folder


def blurred(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    frames[2:4] = [cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in frames[2:4]]
    return frames


def another_look(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror the clip: it shows something else and has the same traces."""
    return np.ascontiguousarray(frames[:, ::-1])


@pytest.fixture(scope="module")
def leaking(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("leaks") / "data", 14, blurred)


def test_a_trace_is_found_and_named_and_the_command_fails(leaking, tmp_path, capsys):
    assert cli.main(["data", "leak-check", str(leaking), "--out", str(tmp_path / "leaks.json")]) == EXIT_REFUSED
    shown = capsys.readouterr().out
    assert "MISSED" in shown
    assert "high_frequency" in shown or "noise" in shown
    assert '"auroc"' in (tmp_path / "leaks.json").read_text()


def test_the_interval_holds_the_value_and_another_run_gives_the_same(leaking):
    result = leak_check(leaking)
    assert result.auroc > 0.85
    assert 0.5 < result.low <= result.auroc <= result.high <= 1
    assert leak_check(leaking) == result


def test_twins_without_a_trace_keep_the_bar(tmp_path, capsys):
    dataset = make_dataset(tmp_path / "data", 14, another_look)
    result = leak_check(dataset)
    assert result.auroc <= 0.6
    assert result.passed


def test_pairs_of_one_segment_are_judged_by_models_that_saw_none_of_them(leaking):
    pairs = paired(read_clips(leaking))[:4]
    named = [name_pair("walk.mp4", "ab" * 32, segment, number) for segment, number in ((0, 0), (0, 1), (1, 0))]
    injected = [
        (clean.model_copy(update={"pair_id": name}), defective.model_copy(update={"pair_id": name}))
        for (clean, defective), name in zip(pairs, named, strict=False)
    ]
    assert footage_groups([*injected, pairs[3], pairs[3]]).tolist() == [0, 0, 1, 2, 2]


def test_too_few_pairs_are_a_mistake(tmp_path):
    with pytest.raises(CacError, match="needs 10"):
        leak_check(make_dataset(tmp_path / "data", 2, blurred))


def test_auroc_counts_ties_half():
    labels = np.array([0, 1, 0, 1])
    assert auroc(labels, np.array([0.1, 0.9, 0.2, 0.8])) == 1
    assert auroc(labels, np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert auroc(labels, np.array([0.3, 0.1, 0.2, 0.9])) == 0.5
