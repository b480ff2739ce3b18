"""Judging the splits with every checkpoint and baseline: on a CPU in as many processes as it has threads.

The nano decodes in many small steps: a second thread hardly helps, a second process halves the time. Each process has
one thread and runs one job at a time, so results do not depend on which process judged a clip. A job judges some clips
with every checkpoint in turn; checkpoints with equal vision towers share an image's encoding. After an interruption,
clips already judged with the same inputs are not judged again. On a GPU a job is a whole split, so that large models
are not loaded often, and the jobs run one by one.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path

from cac.evaluation.baselines import FrameDifference, Majority
from cac.io.distributed import best_device
from cac.io.parallel import parallel_map
from cac.model.loading import make_deterministic
from cac.model.patches.transformers_vision_cache import ImageEncodingCache, cache_image_encodings
from cac.model.reward_model import RewardModel, load_reward_model
from cac.params import Params
from cac.paths import DATASET, MODELS, TRAINING_STAGES
from cac.schema.annotations import MANIFEST_NAME, Split, read_clips
from cac.schema.judgement import Judgement
from cac.training.checkpoints import CheckpointKey, checkpoint_key, prepare_folder
from cac.video.clip_store import ClipStore
from cac.video.decode import AnyVideo

CHECKPOINTS = ("base", *TRAINING_STAGES)
CONSTRAINED_BASE = "base_guided"  # the base with grammar-constrained decoding; "base" is the base without it
BASELINES = ("majority", "frame_difference")
BATCHES_PER_JOB = 3  # a job loads every checkpoint once; what an interruption undoes is a checkpoint's part of one
MEMORY = 2**29  # bytes of images' encodings that a job may keep

Judgements = dict[str, dict[str, list[Judgement]]]  # row name -> split -> one a clip


@dataclass(frozen=True)
class _Work:
    """The inputs of every job, and where it writes: one file for each row and part of a split."""

    root: Path
    params: Params
    folder: Path

    def out(self, row: str, split: str, start: int = 0) -> Path:
        """Return where a row's judgements of a split's clips from `start` on go."""
        return self.folder / f"{row}-{split}-{start}.json"

    def write(self, out: Path, judgements: list[Judgement]) -> None:
        """Write judgements atomically."""
        partial = out.with_suffix(".partial")
        partial.write_text(json.dumps([judgement.to_dict() for judgement in judgements]), encoding="utf-8")
        partial.rename(out)

    def read(self, row: str, split: str) -> list[Judgement]:
        """Return a row's judgements of a split, in the order of its clips, from whichever jobs wrote them."""
        parts = sorted(self.folder.glob(f"{row}-{split}-*.json"), key=lambda path: int(path.stem.rsplit("-", 1)[1]))
        return [Judgement.from_dict(one) for part in parts for one in json.loads(part.read_text(encoding="utf-8"))]


@dataclass(frozen=True)
class _CheckpointsJob:
    """The clips [start, stop) of a split, of `count`, to judge with every checkpoint."""

    work: _Work
    split: Split
    start: int
    stop: int
    count: int

    def is_done(self) -> bool:
        """Return whether every checkpoint has judged these clips."""
        return all(self.work.out(row, self.split, self.start).is_file() for row in CHECKPOINTS)

    def run(self) -> None:
        """Judge the clips with each checkpoint that has not judged them yet."""
        params, root = self.work.params, self.work.root
        make_deterministic(params.compute)
        store, clips = ClipStore(root / DATASET), read_clips(root / DATASET, self.split)[self.start : self.stop]
        videos, memory = [store.video(clip) for clip in clips], ImageEncodingCache(MEMORY)
        for row in CHECKPOINTS:
            out = self.work.out(row, self.split, self.start)
            if not out.is_file():
                model = reward_model(row, params, root)
                cache_image_encodings(model.model.requires_grad_(False), memory)
                self.work.write(out, self._judge(model, row, videos))

    def _judge(self, model: RewardModel, row: str, videos: list[AnyVideo]) -> list[Judgement]:
        judged: list[Judgement] = []
        batch_size = self.work.params.evaluation.batch_size
        for judgement in model.iter_judgements(videos, batch_size):
            judged.append(judgement)
            if len(judged) % batch_size == 0 or len(judged) == len(videos):
                print(f"evaluate  {row}  {self.split}  {self.start + len(judged)}/{self.count} clips", flush=True)
        return judged


@dataclass(frozen=True)
class _BaselinesJob:
    """All splits to judge with both baselines, which are fitted on train."""

    work: _Work
    splits: tuple[Split, ...]

    def is_done(self) -> bool:
        """Return whether both baselines have judged every split."""
        return all(self.work.out(row, split).is_file() for row in BASELINES for split in self.splits)

    def run(self) -> None:
        """Fit both baselines and let them judge."""
        dataset = self.work.root / DATASET
        store, train = ClipStore(dataset), read_clips(dataset, "train")
        majority = Majority().fit(train)
        difference = FrameDifference().fit(train, map(store.video, train))
        for split in self.splits:
            videos = [store.video(clip) for clip in read_clips(dataset, split)]
            self.work.write(self.work.out("majority", split), majority.judge(videos))
            self.work.write(self.work.out("frame_difference", split), difference.judge(videos))
        print("evaluate  baselines  fitted on train, and every split judged", flush=True)


def judge_all(params: Params, root: Path, splits: Sequence[Split]) -> Judgements:
    """Judge splits with the base, by itself and guided, with each stage's adapter, and with both baselines.

    Raises:
        CacError: the base, an adapter or a clip is missing or does not fit.
    """
    single = params.compute.model_copy(update={"threads": 1})
    each = params if best_device() != "cpu" else params.model_copy(update={"compute": single})
    work = _Work(root, each, prepare_folder(root, "evaluate", _checkpoint_key(params, root)))
    largest_first = sorted(_checkpoint_jobs(work, splits), key=lambda job: job.start - job.stop)
    jobs: list[_CheckpointsJob | _BaselinesJob] = [_BaselinesJob(work, tuple(splits)), *largest_first]
    waiting = [job for job in jobs if not job.is_done()]
    run = methodcaller("run")
    if best_device() == "cpu":
        list(parallel_map(run, waiting, processes=params.compute.threads, chunk_size=1))
    else:
        list(map(run, waiting))
    judged: Judgements = {row: {split: work.read(row, split) for split in splits} for row in (*CHECKPOINTS, *BASELINES)}
    alone: dict[str, list[Judgement]] = {
        split: [judgement.without_constraint() for judgement in rows] for split, rows in judged["base"].items()
    }
    return {"base": alone, CONSTRAINED_BASE: judged.pop("base"), **judged}


def _checkpoint_jobs(work: _Work, splits: Sequence[Split]) -> Iterator[_CheckpointsJob]:
    """Yield the jobs; batches are the same wherever a split is cut."""
    for split in splits:
        count = len(read_clips(work.root / DATASET, split))
        size = max(1, count) if best_device() != "cpu" else BATCHES_PER_JOB * work.params.evaluation.batch_size
        for start in range(0, count, size):
            yield _CheckpointsJob(work, split, start, min(start + size, count), count)


def _checkpoint_key(params: Params, root: Path) -> CheckpointKey:
    inputs = [root / DATASET / MANIFEST_NAME, *(root / MODELS / stage for stage in TRAINING_STAGES)]
    return checkpoint_key(params.sections("evaluate"), inputs, params.model, root, "evaluate")


def reward_model(checkpoint: str, params: Params, root: Path) -> RewardModel:
    """Load a checkpoint of a project as what judges videos: one of `CHECKPOINTS`, on the best device there is.

    Raises:
        CacError: the base or the adapter is missing or does not fit.
    """
    return load_reward_model(root / MODELS / checkpoint if checkpoint in TRAINING_STAGES else None, params)
