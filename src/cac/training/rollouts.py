"""Rollouts of the policy as it stands, turn by turn: some scans of each clip, then as many looks after the best one.

A good scan with a bad look, or the other way round, is no loss then, and a clip is read once a turn, however many
answers are drawn. TRL's own loop draws whole rollouts, reads the clip for each, and learns in between. Here all are
drawn before any weight moves, by a process a core; every job seeds itself, so nothing depends on who drew what.
Answers are held to the grammar. Left out: what is made of them (`rejection_sampling.py`).
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any

from cac.annotations import Clip, read_clips
from cac.clip_store import ClipStore
from cac.geometry import temporal_iou
from cac.judgement import Judgement
from cac.layout import DATASET
from cac.model.adapted import adapted_reward_model
from cac.model.guided import drawn
from cac.model.image_memory import encode_images_once
from cac.model.loading import best_device, make_deterministic
from cac.model.reward_model import RewardModel, Scanned
from cac.params import Grpo, Params
from cac.training import processes
from cac.training.portions import reinforcement_clips
from cac.training.rewards import total_reward
from cac.video import Video
from cac.workers import spread

CLIPS_PER_JOB = 32  # what an interruption undoes is a job


@dataclass(frozen=True)
class Drawn:
    """What was drawn of a clip.

    Attributes:
        best: the best look after the best scan; None if it cannot be read.
        overlaps: what each scan's windows earn; none on a clean clip.
        rewards: the whole reward of each look after the best scan.
    """

    best: Judgement | None
    overlaps: tuple[float, ...]
    rewards: tuple[float, ...]

    @property
    def tells(self) -> bool:
        """Whether some answers are better than others."""
        return len(set(self.overlaps)) > 1 or len(set(self.rewards)) > 1

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Drawn":
        """Read what `to_dict` wrote, also after a JSON round trip."""
        best = Judgement.from_dict(data["best"]) if data["best"] else None
        return cls(best, tuple(data["overlaps"]), tuple(data["rewards"]))


def draw(clips: Sequence[Clip], videos: Sequence[Video], judge: RewardModel, settings: Grpo) -> list[Drawn]:
    """Draw scans of each clip and, after its best, looks; of equals the first is the best."""
    copies = settings.rejection.generations
    scans = judge.scans(videos, copies)
    best = [_best_scan(group, clip, settings) for group, clip in zip(scans, clips, strict=True)]
    usable = [i for i, scanned in enumerate(best) if scanned is not None]
    chosen = [scanned for scanned in best if scanned is not None]
    looks = dict(zip(usable, judge.looks([videos[i] for i in usable], chosen, copies), strict=True)) if usable else {}
    return [
        Drawn(
            best=_best_look(looks.get(i, []), clip, settings),
            overlaps=() if clip.is_clean else tuple(_overlap(scanned, clip, settings) for scanned in scans[i]),
            rewards=tuple(total_reward(look, clip, settings) for look in looks.get(i, [])),
        )
        for i, clip in enumerate(clips)
    ]


def _best_scan(group: Sequence[Scanned], clip: Clip, settings: Grpo) -> Scanned | None:
    readable = [scanned for scanned in group if scanned.scan is not None]
    return max(readable, key=lambda scanned: _overlap(scanned, clip, settings), default=None)


def _overlap(scanned: Scanned, clip: Clip, settings: Grpo) -> float:
    if clip.is_clean or scanned.scan is None:
        return 0.0
    return settings.reward_weights.temporal_iou * temporal_iou(scanned.scan.windows, clip.windows)


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
        judge = adapted_reward_model(self.policy, self.params)
        judge.generator.pick = drawn(settings.rejection.temperature)
        judge.generator.max_turn_tokens = settings.max_turn_tokens
        encode_images_once(judge.model.requires_grad_(False))
        clips, store = chosen_clips(self.params, self.root)[self.start : self.stop], ClipStore(self.root / DATASET)
        at_once = max(1, settings.rejection.rollouts_at_once // settings.rejection.generations)
        rows: list[Drawn] = []
        for first in range(0, len(clips), at_once):
            some = clips[first : first + at_once]
            rows += draw(some, [store.video(clip) for clip in some], judge, settings)
        partial = self.out.with_suffix(".partial")
        partial.write_text(json.dumps([row.to_dict() for row in rows]), encoding="utf-8")
        partial.rename(self.out)
        print(f"rollouts  {self.stop}/{self.count} clips, {settings.rejection.generations} of each", flush=True)


def chosen_clips(params: Params, root: Path) -> list[Clip]:
    """Return the clips that rollouts are drawn of: those of reinforcement, in an order that the seed draws."""
    clips = reinforcement_clips(read_clips(root / DATASET, "train"), params.portions)
    random.Random(params.compute.seed).shuffle(clips)
    return clips[: params.two_turn_grpo.rejection.clips]


def draw_all(params: Params, root: Path, policy: Path, folder: Path) -> list[Drawn]:
    """Draw what is missing of all rollouts, which `folder` keeps, and return what was drawn of each chosen clip."""
    jobs = list(_jobs(params, root, policy, folder))
    waiting = [job for job in jobs[processes.rank() :: processes.count()] if not job.out.is_file()]
    if best_device() == "cpu":
        list(spread(methodcaller("run"), waiting, processes=params.compute.threads, at_once=1))
    else:
        list(map(methodcaller("run"), waiting))
    processes.wait()
    return [Drawn.from_dict(row) for job in jobs for row in json.loads(job.out.read_text(encoding="utf-8"))]


def _jobs(params: Params, root: Path, policy: Path, folder: Path) -> Iterator[_Job]:
    """Yield the jobs; they are the same however many processes there are."""
    single = params.compute.model_copy(update={"threads": 1})
    each = params if best_device() != "cpu" else params.model_copy(update={"compute": single})
    count = len(chosen_clips(params, root))
    for start in range(0, count, CLIPS_PER_JOB):
        out = folder / f"rollouts-{start}.json"
        yield _Job(root, each, policy, out, start, min(start + CLIPS_PER_JOB, count), count)
