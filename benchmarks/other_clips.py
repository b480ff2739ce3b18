"""Clips of other scenes than the sample's, rendered on demand with another seed, and checkpoints judging them.

Clips and judgements are cached in `.scratch/`.
"""

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import cac.data.sample
from cac.ablation.frame_judge import FrameJudge
from cac.data.sample.build import build_dataset
from cac.evaluation.intervals import Interval
from cac.io.parallel import parallel_map
from cac.model.loading import make_deterministic
from cac.model.patches.transformers_vision_cache import cache_image_encodings
from cac.model.reward_model import load_reward_model
from cac.params import Params
from cac.paths import SCRATCH
from cac.schema.annotations import CARD_NAME, MANIFEST_NAME, read_clips
from cac.schema.judgement import Judgement
from cac.training.checkpoints import checkpoint_key
from cac.video.clip_store import ClipStore

CLIPS_AT_ONCE = 96
_PARTS = ("pairs", "shifted_pairs", "hard_train_pairs", "hard_test_pairs")


def render(params: Params, name: str, seed: int, pairs: Mapping[str, int]) -> Path:
    """Return a dataset of other scenes, rendered if it does not exist.

    Args:
        params: the settings of the sample.
        name: of the folder in `.scratch`.
        seed: of the scenes.
        pairs: how many pairs of each part, as in `procedural_data`; none of the parts that are missing.
    """
    data = params.procedural_data.model_copy(update={**dict.fromkeys(_PARTS, 0), **pairs})
    compute = params.compute.model_copy(update={"seed": seed})
    settings = {"compute": compute.model_dump(), "procedural_data": data.model_dump()}
    dataset = SCRATCH / name / _key(settings, _scene_code(), params) / "data"
    if not (dataset / CARD_NAME).is_file():
        dataset.parent.mkdir(parents=True, exist_ok=True)
        build_dataset(dataset, params.model_copy(update={"procedural_data": data, "compute": compute}))
    return dataset


def judge(dataset: Path, adapter: Path | None, params: Params, *, frame_by_frame: bool = False) -> list[Judgement]:
    """Judge all clips of a dataset as `evaluate` does, in the order of its manifest; no adapter: with the base.

    With `frame_by_frame`, judge them as the ablation's frame judge does.
    """
    sections = {name: getattr(params, name).model_dump() for name in ("frames", "model", "evaluation")}
    sections |= {"frame_by_frame": True} if frame_by_frame else {}
    inputs = [dataset / MANIFEST_NAME, *([] if adapter is None else [adapter])]
    out = dataset.parent / f"{_key(sections, inputs, params)}.json"
    if not out.is_file():
        count = len(read_clips(dataset))
        work = partial(_judge_part, dataset, adapter, params, frame_by_frame)
        parts = parallel_map(work, range(0, count, CLIPS_AT_ONCE), processes=params.compute.threads, chunk_size=1)
        partial_out = out.with_suffix(".partial")
        partial_out.write_text(json.dumps([row for part in parts for row in part]), encoding="utf-8")
        partial_out.rename(out)
    return [Judgement.from_dict(row) for row in json.loads(out.read_text(encoding="utf-8"))]


def _scene_code() -> list[Path]:
    """Return the modules that draw clips: clips drawn by other code are other clips."""
    return sorted(Path(cac.data.sample.__path__[0]).rglob("*.py"))


def _key(settings: Mapping[str, object], inputs: list[Path], params: Params) -> str:
    return checkpoint_key(settings, inputs, params.model, Path(), "evaluate").digest[:16]


def _judge_part(
    dataset: Path, adapter: Path | None, params: Params, frame_by_frame: bool, start: int
) -> list[dict[str, object]]:
    """Judge one batch of clips, starting at `start`, in a worker process."""
    make_deterministic(params.compute.model_copy(update={"threads": 1}))
    model = load_reward_model(adapter, params)
    cache_image_encodings(model.model.requires_grad_(False))
    clips, store = read_clips(dataset)[start : start + CLIPS_AT_ONCE], ClipStore(dataset)
    judge = FrameJudge(model) if frame_by_frame else model
    judged = judge.judge([store.video(clip) for clip in clips], params.evaluation.batch_size)
    print(f"{adapter or 'base'}  {start + len(clips)} clips", file=sys.stderr, flush=True)
    return [judgement.to_dict() for judgement in judged]


def cell(interval: Interval, *, sign: str = "") -> str:
    """Return a value with its interval, as in a table's cell; "–" where it is undefined."""
    if interval["value"] is None:
        return "–"
    value, low, high = (f"{interval[part]:{sign}.3f}" for part in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
