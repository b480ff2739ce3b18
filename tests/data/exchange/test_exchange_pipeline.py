"""A dataset in each format goes through the pipeline: import, validate, a training step, export, import again."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.validation_cases import BOUNDS
from PIL import Image

from cac.data.exchange.export import export_dataset
from cac.data.exchange.import_ import ImportRequest, import_dataset
from cac.data.validation.validate import validate
from cac.params import Params
from cac.schema.annotations import Anomaly, Clip, read_clips
from cac.training import single_frame_sft

pytestmark = pytest.mark.slow

LABELS = "labels: {good: ignore}"


def exported(form: str) -> Callable[[Sequence[Clip], Path], Path]:
    def write(clips: Sequence[Clip], folder: Path) -> Path:
        export_dataset(form, folder / "dataset", folder / "source")
        return folder / "source"

    return write


def skyra(clips: Sequence[Clip], folder: Path) -> Path:
    records = [{"video": f"{clip.clip_id}.mp4", "text": _said(clip), "pair_id": clip.pair_id} for clip in clips]
    return _json(folder / "source.json", records)


def _said(clip: Clip) -> str:
    evidence = [
        f"<type>{a.leaf}</type> in <t>{list(a.window or ())}</t> at <bbox>{_around(a)}</bbox>" for a in clip.anomalies
    ]
    return "; ".join([*evidence, f"<answer>{'Real' if clip.is_clean else 'Fake'}</answer>"])


def _around(anomaly: Anomaly) -> list[float]:
    boxes = np.array([one.box for one in anomaly.boxes])
    return [*map(float, boxes[:, :2].min(axis=0)), *map(float, boxes[:, 2:].max(axis=0))]


def masks(clips: Sequence[Clip], folder: Path) -> Path:
    for clip in clips:
        (folder / "source" / clip.clip_id).mkdir(parents=True)
        for frame in range(clip.frame_count):
            image = Image.new("L", (clip.width, clip.height))
            for _, (x1, y1, x2, y2) in clip.boxes_at(frame):
                sides = (x1 * clip.width, y1 * clip.height, x2 * clip.width, y2 * clip.height)
                image.paste(255, tuple(map(round, sides)))
            image.save(folder / "source" / clip.clip_id / f"{frame:05d}.png")
    leaves = {clip.clip_id: clip.anomalies[0].leaf for clip in clips if not clip.is_clean}
    _json(folder / "source" / "labels.json", leaves)
    return folder / "source"


def labelu(clips: Sequence[Clip], folder: Path) -> Path:
    samples = []
    for clip in clips:
        segments = [
            {"id": str(i), "start": a.window[0], "end": a.window[1], "label": a.leaf}
            for i, a in enumerate(clip.anomalies)
            if a.window
        ]
        tool = {"toolName": "videoSegmentTool", "result": segments}
        tag = {"toolName": "tagTool", "result": [{"value": {"quality": ["good"]}}]}
        result = json.dumps({"duration": clip.duration, "annotations": [tool if segments else tag]})
        samples.append({"id": len(samples), "fileName": f"{clip.clip_id}.mp4", "result": result})
    return _json(folder / "source.json", samples)


def darwin(clips: Sequence[Clip], folder: Path) -> Path:
    (folder / "source").mkdir()
    for clip in clips:
        slot = {"slot_name": "0", "type": "video", "width": clip.width, "height": clip.height, "fps": clip.fps}
        item = {"name": f"{clip.clip_id}.mp4", "path": "/", "slots": [slot | {"frame_count": clip.frame_count}]}
        content = {"version": "2.0", "item": item, "annotations": [_track(a, clip) for a in clip.anomalies]}
        _json(folder / "source" / f"{clip.clip_id}.json", content)
    return folder / "source"


def _track(anomaly: Anomaly, clip: Clip) -> dict[str, object]:
    frames = {
        str(one.frame): {
            "keyframe": True,
            "bounding_box": {
                "x": one.box[0] * clip.width,
                "y": one.box[1] * clip.height,
                "w": (one.box[2] - one.box[0]) * clip.width,
                "h": (one.box[3] - one.box[1]) * clip.height,
            },
        }
        for one in anomaly.boxes
    }
    shown = [anomaly.boxes[0].frame, anomaly.boxes[-1].frame + 1]
    return {"name": anomaly.leaf, "frames": frames, "ranges": [shown], "interpolated": True}


def windows(clips: Sequence[Clip], folder: Path) -> Path:
    rows: list[dict[str, object]] = []
    for clip in clips:
        row = {"video": f"{clip.clip_id}.mp4", "pair_id": clip.pair_id}
        rows += [row | {"start": a.window[0], "end": a.window[1], "label": a.leaf} for a in clip.anomalies if a.window]
        rows += [row | {"label": "clean"}] if clip.is_clean else []
    return _json(folder / "source.json", rows)


def _json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


WRITERS = {
    "cvat": exported("cvat"),
    "label-studio": exported("label-studio"),
    "coco": exported("coco"),
    "skyra": skyra,
    "masks": masks,
    "labelu": labelu,
    "darwin": darwin,
    "windows": windows,
}


@pytest.mark.parametrize("form", list(WRITERS))
def test_a_dataset_goes_through(
    form: str, small_dataset: Path, project_params: Params, fresh_base: Path, tmp_path: Path, monkeypatch
) -> None:
    clips = read_clips(small_dataset)
    (tmp_path / "dataset").symlink_to(small_dataset)
    (tmp_path / "labels.yaml").write_text(LABELS)
    source = WRITERS[form](clips, tmp_path)
    request = ImportRequest(
        form, source, small_dataset / "clips", tmp_path / "labels.yaml", tmp_path / "data", 0.2, 0.2
    )
    import_dataset(request)
    imported = {clip.clip_id: clip for clip in read_clips(tmp_path / "data")}
    assert {name: _what(clip) for name, clip in imported.items()} == {clip.clip_id: _what(clip) for clip in clips}
    assert all(_when(imported[clip.clip_id]) == pytest.approx(_when(clip), abs=1e-5) for clip in clips)

    validate(
        tmp_path / "data",
        BOUNDS.model_copy(update={"near_duplicate_distance": 0.0, "max_duration": 10.0}),
        tmp_path / "findings",
    )
    train_a_step(project_params, fresh_base, tmp_path, monkeypatch)

    back = form if form in ("cvat", "label-studio", "coco") else "label-studio"
    export_dataset(back, tmp_path / "data", tmp_path / "exported")
    videos = tmp_path / "data" / "clips"
    import_dataset(ImportRequest(back, tmp_path / "exported", videos, None, tmp_path / "again", 0.2, 0.2))
    assert {clip.clip_id: clip.anomalies for clip in read_clips(tmp_path / "again")} == {
        name: clip.anomalies for name, clip in imported.items()
    }


def _what(clip: Clip) -> list[str]:
    return [anomaly.leaf for anomaly in clip.anomalies]


def _when(clip: Clip) -> list[float]:
    return [time for window in clip.windows for time in window]


def train_a_step(params: Params, base: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"max_steps": 1, "batch_size": 4, "gradient_accumulation_steps": 1}
    params = params.model_copy(
        update={
            "compute": params.compute.model_copy(update={"threads": 1}),
            "model": params.model.model_copy(update={"base": str(base)}),
            "single_frame_sft": params.single_frame_sft.model_copy(update=short),
        }
    )
    monkeypatch.chdir(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
    single_frame_sft.train(params, root)
    assert (root / "models" / "single_frame_sft" / "adapter_model.safetensors").is_file()
