"""Judging the splits with every checkpoint and baseline: on a CPU in as many processes as it has threads.

A nano's decoding is many small steps, which a second thread does little for and a second process halves. Each process
has one thread and does one job at a time, so that nothing depends on who judged what. What was judged with exactly the
same inputs is not judged again after an interruption. On a GPU the jobs are done one by one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cac.annotations import Split, read_clips
from cac.clip_store import ClipStore
from cac.evaluation.baselines import FrameDifference, Majority
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
GUIDED_BASE = "base_guided"  # the base held to a grammar it was never taught; "base" is what it says by itself
BASELINES = ("majority", "frame_difference")

Judgements = dict[str, dict[str, list[Judgement]]]  # row name -> split -> one a clip


@dataclass(frozen=True)
class _Work:
    """What every job is given, and where its judgements go: a file for each row and split."""

    root: Path
    params: Params
    folder: Path

    def out(self, row: str, split: str) -> Path:
        return self.folder / f"{row}-{split}.json"

    def write(self, row: str, split: str, judgements: list[Judgement]) -> None:
        out = self.out(row, split)
        partial = out.with_suffix(".partial")
        partial.write_text(json.dumps([judgement.to_dict() for judgement in judgements]), encoding="utf-8")
        partial.rename(out)


@dataclass(frozen=True)
class _CheckpointJob:
    """One split to judge with one checkpoint."""

    work: _Work
    row: str
    split: Split

    def is_done(self) -> bool:
        return self.work.out(self.row, self.split).is_file()

    def run(self) -> None:
        params, root = self.work.params, self.work.root
        make_deterministic(params.compute)
        model, videos = reward_model(self.row, params, root), _videos(root / DATASET, self.split)
        batch_size = params.evaluation.batch_size
        judged: list[Judgement] = []
        for judgement in model.iter_judgements(videos, batch_size):
            judged.append(judgement)
            if len(judged) % batch_size == 0 or len(judged) == len(videos):
                print(f"evaluate  {self.row}  {self.split}  {len(judged)}/{len(videos)} clips", flush=True)
        self.work.write(self.row, self.split, judged)


@dataclass(frozen=True)
class _BaselinesJob:
    """All splits to judge with both baselines, which are fitted on train."""

    work: _Work
    splits: tuple[Split, ...]

    def is_done(self) -> bool:
        return all(self.work.out(row, split).is_file() for row in BASELINES for split in self.splits)

    def run(self) -> None:
        dataset = self.work.root / DATASET
        store, train = ClipStore(dataset), read_clips(dataset, "train")
        majority = Majority().fit(train)
        difference = FrameDifference().fit(train, map(store.video, train))
        for split in self.splits:
            videos = _videos(dataset, split)
            self.work.write("majority", split, majority.judge(videos))
            self.work.write("frame_difference", split, difference.judge(videos))
        print("evaluate  baselines  fitted on train, and every split judged", flush=True)


def judge_all(params: Params, root: Path, splits: Sequence[Split]) -> Judgements:
    """Judge splits with the base, by itself and guided, with each stage's adapter, and with both baselines.

    Raises:
        CacError: the base, an adapter or a clip is missing or does not fit.
    """
    single = params.compute.model_copy(update={"threads": 1})
    each = params if best_device() != "cpu" else params.model_copy(update={"compute": single})
    work = _Work(root, each, prepare(root, "evaluate", _fingerprint(params, root)))
    jobs: list[_CheckpointJob | _BaselinesJob] = [
        _CheckpointJob(work, row, split)
        for row in reversed(CHECKPOINTS)  # the longest first
        for split in splits
    ]
    jobs.append(_BaselinesJob(work, tuple(splits)))
    waiting = [job for job in jobs if not job.is_done()]
    if best_device() == "cpu":
        list(spread(_run, waiting, processes=params.compute.threads, at_once=1))
    else:
        list(map(_run, waiting))
    judged: Judgements = {
        row: {split: _read(work.out(row, split)) for split in splits} for row in (*CHECKPOINTS, *BASELINES)
    }
    alone: dict[str, list[Judgement]] = {
        split: [judgement.by_itself() for judgement in rows] for split, rows in judged["base"].items()
    }
    return {"base": alone, GUIDED_BASE: judged.pop("base"), **judged}


def _read(path: Path) -> list[Judgement]:
    return [Judgement.from_dict(row) for row in json.loads(path.read_text(encoding="utf-8"))]


def _run(job: _CheckpointJob | _BaselinesJob) -> None:
    job.run()


def _fingerprint(params: Params, root: Path) -> str:
    sections = {"compute": params.compute, "frames": params.frames, "model": params.model, "e": params.evaluation}
    return fingerprint(
        sections, [root / DATASET / "annotations.jsonl", *(root / MODELS / stage for stage in TRAINING_STAGES)]
    )


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


@cache  # a process judges each split several times
def _videos(dataset: Path, split: Split) -> list[Video]:
    store = ClipStore(dataset)
    return [store.video(clip) for clip in read_clips(dataset, split)]
