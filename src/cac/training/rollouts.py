"""Rollouts of the policy as it stands, turn by turn: some scans of each clip, then some looks after the best of them.

What a scan is worth is first what its windows earn. Those of a clean clip earn nothing, so there several scans are
followed by looks, and the better one is that after which the looks earn more: so a scan learns what it leads to. A good
scan with a bad look, or the other way round, is no loss, and a clip is read once a turn, however many answers are
drawn. TRL's own loop draws whole rollouts, reads the clip for each, and learns in between. Here all are drawn before
any weight moves, by a process a core; every job seeds itself, so nothing depends on who drew what. Answers are held to
the grammar. Left out: what is made of them (`rejection_sampling.py`).
"""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from operator import methodcaller
from pathlib import Path
from statistics import fmean
from typing import Any

from cac.io import distributed
from cac.io.distributed import best_device
from cac.io.parallel import parallel_map
from cac.model.constrained_decoding import multinomial
from cac.model.loading import make_deterministic
from cac.model.patches.transformers_vision_cache import cache_image_encodings
from cac.model.reward_model import RewardModel, SampledScan, load_reward_model
from cac.params import Grpo, Params
from cac.paths import DATASET
from cac.schema.annotations import Clip, read_clips
from cac.schema.geometry import Window, temporal_iou
from cac.schema.judgement import Judgement
from cac.training.rewards import total_reward
from cac.training.train_partition import grpo_clips
from cac.video.clip_store import ClipStore
from cac.video.decode import Video

CLIPS_PER_JOB = 32  # what an interruption undoes is a job


@dataclass(frozen=True)
class Drawn:
    """What was drawn of a clip.

    Attributes:
        best: the best look after the best scan; None if it cannot be read.
        overlaps: what each scan's windows earn; none on a clean clip.
        worths: the mean reward of the looks after each scan that was tried.
        rewards: the whole reward of each look after the best of those.
    """

    best: Judgement | None
    overlaps: tuple[float, ...]
    worths: tuple[float, ...]
    rewards: tuple[float, ...]

    @property
    def tells(self) -> bool:
        """Whether some answers are better than others."""
        return any(len(set(values)) > 1 for values in (self.overlaps, self.worths, self.rewards))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Drawn":
        """Read what `to_dict` wrote, also after a JSON round trip."""
        best = Judgement.from_dict(data["best"]) if data["best"] else None
        return cls(best, *(tuple(data[name]) for name in ("overlaps", "worths", "rewards")))


def draw(clips: Sequence[Clip], videos: Sequence[Video], judge: RewardModel, settings: Grpo) -> list[Drawn]:
    """Draw scans of each clip and, after its best, looks; of equals the first is the best."""
    own = settings.rejection_sampling
    scans = judge.scans(videos, own.scans)
    tried = [_worth_trying(group, clip, settings) for group, clip in zip(scans, clips, strict=True)]
    asked = [(i, scanned) for i, group in enumerate(tried) for scanned in group]
    looks: list[list[list[Judgement]]] = [[] for _ in clips]  # of each clip, after each scan that is tried
    at_once = max(1, own.rollouts_at_once // own.looks)
    for start in range(0, len(asked), at_once):
        some = asked[start : start + at_once]
        answers = judge.looks([videos[i] for i, _ in some], [scanned for _, scanned in some], own.looks)
        for (i, _), group in zip(some, answers, strict=True):
            looks[i].append(group)
    return [_drawn(clip, scans[i], looks[i], settings) for i, clip in enumerate(clips)]


def _worth_trying(group: Sequence[SampledScan], clip: Clip, settings: Grpo) -> list[SampledScan]:
    """Return one scan for each of the windows that earn most, the most frequent ones first."""
    readable = [(scanned, scanned.scan.windows) for scanned in group if scanned.scan is not None]
    earned = {windows: _overlap(windows, clip, settings) for _, windows in readable}
    best = [(scanned, windows) for scanned, windows in readable if earned[windows] == max(earned.values())]
    firsts: dict[tuple[Window, ...], SampledScan] = {}
    for scanned, windows in best:
        firsts.setdefault(windows, scanned)
    often = Counter(windows for _, windows in best).most_common(settings.rejection_sampling.tries)
    return [firsts[windows] for windows, _ in often]


def _overlap(windows: Sequence[Window], clip: Clip, settings: Grpo) -> float:
    return 0.0 if clip.is_clean else settings.reward_weights.temporal_iou * temporal_iou(windows, clip.windows)


def _drawn(clip: Clip, scans: Sequence[SampledScan], looks: Sequence[Sequence[Judgement]], settings: Grpo) -> Drawn:
    rewards = [tuple(total_reward(look, clip, settings) for look in group) for group in looks]
    worths = tuple(map(fmean, rewards))
    best = worths.index(max(worths)) if worths else None
    windows = [scanned.scan.windows if scanned.scan else () for scanned in scans]
    return Drawn(
        best=None if best is None else _best_look(looks[best], clip, settings),
        overlaps=() if clip.is_clean else tuple(_overlap(one, clip, settings) for one in windows),
        worths=worths,
        rewards=() if best is None else rewards[best],
    )


def _best_look(looks: Sequence[Judgement], clip: Clip, settings: Grpo) -> Judgement | None:
    """Return the first of the best; None if that cannot be read: what can be is then worse than saying nothing."""
    best = max(looks, key=lambda look: (total_reward(look, clip, settings), look.parsed), default=None)
    return best if best and best.parsed else None


@dataclass(frozen=True)
class _Job:
    """Rollouts to draw of clips [start, stop), of `count`, and where they go."""

    root: Path
    params: Params
    policy: Path
    out: Path
    start: int
    stop: int
    count: int

    def run(self) -> None:
        """Draw the rollouts and write them in one piece or not at all."""
        settings, compute = self.params.two_turn_grpo, self.params.compute
        make_deterministic(compute.model_copy(update={"seed": compute.seed + self.start}))
        judge = load_reward_model(self.policy, self.params)
        judge.generator.sampler = multinomial(settings.rejection_sampling.temperature)
        judge.generator.max_turn_tokens = settings.max_turn_tokens
        cache_image_encodings(judge.model.requires_grad_(False))
        clips, store = rollout_clips(self.params, self.root)[self.start : self.stop], ClipStore(self.root / DATASET)
        at_once = max(1, settings.rejection_sampling.rollouts_at_once // settings.rejection_sampling.scans)
        rows: list[Drawn] = []
        for first in range(0, len(clips), at_once):
            some = clips[first : first + at_once]
            rows += draw(some, [store.video(clip) for clip in some], judge, settings)
        partial = self.out.with_suffix(".partial")
        partial.write_text(json.dumps([row.to_dict() for row in rows]), encoding="utf-8")
        partial.rename(self.out)
        scans = settings.rejection_sampling.scans
        print(f"rollouts  {self.stop}/{self.count} clips, {scans} scans of each", flush=True)


def rollout_clips(params: Params, root: Path) -> list[Clip]:
    """Return the clips that rollouts are drawn of: those of reinforcement, in an order that the seed draws."""
    clips = grpo_clips(read_clips(root / DATASET, "train"), params.train_partition)
    random.Random(params.compute.seed).shuffle(clips)
    return clips[: params.two_turn_grpo.rejection_sampling.clips]


def sample_all_rollouts(params: Params, root: Path, policy: Path, folder: Path) -> list[Drawn]:
    """Draw what is missing of all rollouts, which `folder` keeps, and return what was drawn of each chosen clip."""
    jobs = list(_jobs(params, root, policy, folder))
    waiting = [job for job in jobs[distributed.rank() :: distributed.world_size()] if not job.out.is_file()]
    if best_device() == "cpu":
        list(parallel_map(methodcaller("run"), waiting, processes=params.compute.threads, chunk_size=1))
    else:
        list(map(methodcaller("run"), waiting))
    distributed.wait_for_everyone()
    return [Drawn.from_dict(row) for job in jobs for row in json.loads(job.out.read_text(encoding="utf-8"))]


def _jobs(params: Params, root: Path, policy: Path, folder: Path) -> Iterator[_Job]:
    """Yield the jobs; they are the same however many processes there are."""
    single = params.compute.model_copy(update={"threads": 1})
    each = params if best_device() != "cpu" else params.model_copy(update={"compute": single})
    count = len(rollout_clips(params, root))
    for start in range(0, count, CLIPS_PER_JOB):
        out = folder / f"rollouts-{start}.json"
        yield _Job(root, each, policy, out, start, min(start + CLIPS_PER_JOB, count), count)
