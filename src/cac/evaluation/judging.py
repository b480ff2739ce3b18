"""Judging the splits with every checkpoint: on a CPU in as many processes as it has threads, on a GPU one by one.

A nano's decoding is many small steps, which a second thread does little for and a second process halves. Each process
judges one checkpoint's split at a time, on one thread, so that nothing depends on who judged what. What was judged with
exactly the same inputs is not judged again after an interruption.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cac.annotations import Split, read_clips
from cac.clip_store import ClipStore
from cac.judgement import Judgement
from cac.layout import DATASET, MODELS, TRAINING_STAGES
from cac.model.adapters import load_adapter
from cac.model.loading import base_identity, best_device, load_base, make_deterministic
from cac.model.reward_model import RewardModel
from cac.params import Params
from cac.training.checkpoints import fingerprint, prepare
from cac.video import Video
from cac.workers import spread

CHECKPOINTS = ("base", *TRAINING_STAGES)

Judgements = dict[str, dict[str, list[Judgement]]]  # row name -> split -> one a clip


@dataclass(frozen=True)
class _Job:
    """One split to judge with one checkpoint, and the file that its judgements go to."""

    checkpoint: str
    split: Split
    root: Path
    params: Params
    out: Path


def judge_checkpoints(params: Params, root: Path, splits: list[Split]) -> Judgements:
    """Judge splits with the base and each stage's adapter.

    Raises:
        CacError: the base, an adapter or a clip is missing or does not fit.
    """
    folder = prepare(root, "evaluate", _fingerprint(params, root))
    single = params.compute.model_copy(update={"threads": 1})
    each = params if best_device() != "cpu" else params.model_copy(update={"compute": single})
    jobs = [
        _Job(name, split, root, each, folder / f"{name}-{split}.json")
        for name in reversed(CHECKPOINTS)  # the longest first
        for split in splits
    ]
    waiting = [job for job in jobs if not job.out.is_file()]
    if best_device() == "cpu":
        list(spread(_judge, waiting, processes=params.compute.threads, at_once=1))
    else:
        list(map(_judge, waiting))
    judged: Judgements = {name: {} for name in CHECKPOINTS}
    for job in jobs:
        rows = json.loads(job.out.read_text(encoding="utf-8"))
        judged[job.checkpoint][job.split] = [Judgement.from_dict(row) for row in rows]
    return judged


def _fingerprint(params: Params, root: Path) -> str:
    sections = {"compute": params.compute, "frames": params.frames, "model": params.model, "e": params.evaluation}
    return fingerprint(
        sections, [root / DATASET / "annotations.jsonl", *(root / MODELS / stage for stage in TRAINING_STAGES)]
    )


def _judge(job: _Job) -> None:
    make_deterministic(job.params.compute)
    model, videos = reward_model(job.checkpoint, job.params, job.root), _videos(job.root / DATASET, job.split)
    batch_size = job.params.evaluation.batch_size
    judged: list[Judgement] = []
    for judgement in model.iter_judgements(videos, batch_size):
        judged.append(judgement)
        if len(judged) % batch_size == 0 or len(judged) == len(videos):
            print(f"evaluate  {job.checkpoint}  {job.split}  {len(judged)}/{len(videos)} clips", flush=True)
    partial = job.out.with_suffix(".partial")
    partial.write_text(json.dumps([judgement.to_dict() for judgement in judged]), encoding="utf-8")
    partial.rename(job.out)


def reward_model(checkpoint: str, params: Params, root: Path) -> RewardModel:
    """Load a checkpoint of a project as what judges videos: one of `CHECKPOINTS`, on the best device there is.

    Raises:
        CacError: the base or the adapter is missing or does not fit.
    """
    model, processor = load_base(params.model)
    if checkpoint in TRAINING_STAGES:
        model = load_adapter(model, root / MODELS / checkpoint, base_identity(params.model), trainable=False)
    model = model.eval().to(best_device())
    return RewardModel(model, processor, params.frames, max_turn_tokens=params.evaluation.max_turn_tokens)


@cache  # a process judges each split with several checkpoints
def _videos(dataset: Path, split: Split) -> list[Video]:
    store = ClipStore(dataset)
    return [store.video(clip) for clip in read_clips(dataset, split)]
