"""Rollouts of the current policy, turn by turn: several scans of each clip, then several looks after the best scans.

The value of a scan is first the reward of its windows. Scans of a clean clip have no such reward, so several of them
get looks, and the better scan is the one whose looks have the higher mean reward: a scan is credited with what it leads
to. Sampling by turn keeps a good scan that is followed by a bad look, and encodes a clip once a turn however many
answers are sampled; TRL's own loop samples whole rollouts, encodes the clip for each, and updates the policy in
between. Here all rollouts are sampled before any update, one process a core. Every job sets its own seed, so the result
does not depend on which process ran it. Answers are grammar-constrained. Out of scope: training on the rollouts
(`rejection_sampling.py`).
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from statistics import fmean

from pydantic import BaseModel, ConfigDict, TypeAdapter

from cac.io import distributed
from cac.io.distributed import best_device
from cac.io.parallel import parallel_map
from cac.model.constrained_decoding import multinomial
from cac.model.loading import make_deterministic
from cac.model.patches.transformers_vision_cache import cache_image_encodings
from cac.model.reward_model import RewardModel, ScanAnswer, load_reward_model
from cac.params import Grpo, Params
from cac.paths import DATASET
from cac.schema.annotations import Clip, read_clips
from cac.schema.geometry import Window
from cac.schema.judgement import Judgement
from cac.training.rewards import scan_reward, total_reward
from cac.training.train_partition import grpo_clips
from cac.video.clip_store import ClipStore
from cac.video.decode import AnyVideo
from cac.video.segments import clip_segments

CLIPS_PER_JOB = 32  # an interruption loses at most one job per process


class ClipRollouts(BaseModel):
    """The rollouts of one clip.

    Attributes:
        best: the best look with the right verdict after the best scan; None if there is none.
        window_rewards: the reward of each scan's windows; empty on a clean clip.
        scan_values: for each scan that was followed by looks, their mean reward.
        look_rewards: the total reward of each look after the scan with the highest value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    best: Judgement | None
    window_rewards: tuple[float, ...]
    scan_values: tuple[float, ...]
    look_rewards: tuple[float, ...]

    @property
    def rewards_differ(self) -> bool:
        """Whether some rollouts are better than others."""
        return any(len(set(values)) > 1 for values in (self.window_rewards, self.scan_values, self.look_rewards))


_ROWS = TypeAdapter(list[ClipRollouts])  # one job's file


def sample_rollouts(
    clips: Sequence[Clip], videos: Sequence[AnyVideo], judge: RewardModel, settings: Grpo
) -> list[ClipRollouts]:
    """Sample scans of each clip, and looks after its best scans; ties go to the first."""
    sampling = settings.rejection_sampling
    scans = judge.sample_scans(videos, sampling.scans)
    best_scans = [_best_scans(group, clip, settings) for group, clip in zip(scans, clips, strict=True)]
    requests = [(i, scanned) for i, group in enumerate(best_scans) for scanned in group]
    looks: list[list[list[Judgement]]] = [[] for _ in clips]  # by clip and scan
    batch_size = max(1, sampling.rollouts_at_once // sampling.looks)
    for start in range(0, len(requests), batch_size):
        batch = requests[start : start + batch_size]
        answers = judge.sample_looks([videos[i] for i, _ in batch], [scanned for _, scanned in batch], sampling.looks)
        for (i, _), group in zip(batch, answers, strict=True):
            looks[i].append(group)
    return [_clip_rollouts(clip, scans[i], looks[i], settings) for i, clip in enumerate(clips)]


def _best_scans(group: Sequence[ScanAnswer], clip: Clip, settings: Grpo) -> list[ScanAnswer]:
    """Return one scan for each set of windows with the highest reward, the most frequent sets first."""
    parsed = [(scanned, scanned.scan.windows) for scanned in group if scanned.scan is not None]
    rewards = {windows: _window_reward(windows, clip, settings) for _, windows in parsed}
    best = [(scanned, windows) for scanned, windows in parsed if rewards[windows] == max(rewards.values())]
    first_scans: dict[tuple[Window, ...], ScanAnswer] = {}
    for scanned, windows in best:
        first_scans.setdefault(windows, scanned)
    frequent = Counter(windows for _, windows in best).most_common(settings.rejection_sampling.tries)
    return [first_scans[windows] for windows, _ in frequent]


def _window_reward(windows: Sequence[Window], clip: Clip, settings: Grpo) -> float:
    return settings.reward_weights.scan * (scan_reward(windows, clip) or 0.0)


def _clip_rollouts(
    clip: Clip, scans: Sequence[ScanAnswer], looks: Sequence[Sequence[Judgement]], settings: Grpo
) -> ClipRollouts:
    rewards = [tuple(total_reward(look, clip, settings) for look in group) for group in looks]
    values = tuple(map(fmean, rewards))
    best = values.index(max(values)) if values else None
    windows = [scanned.scan.windows if scanned.scan else () for scanned in scans]
    return ClipRollouts(
        best=None if best is None else _best_look(looks[best], clip, settings),
        window_rewards=() if clip.is_clean else tuple(_window_reward(one, clip, settings) for one in windows),
        scan_values=values,
        look_rewards=() if best is None else rewards[best],
    )


def _best_look(looks: Sequence[Judgement], clip: Clip, settings: Grpo) -> Judgement | None:
    """Return the first look with the highest reward of those with the right verdict; None if there is none."""
    right = [look for look in looks if look.parsed and (look.verdict == "clean") == clip.is_clean]
    return max(right, key=lambda look: total_reward(look, clip, settings), default=None)


@dataclass(frozen=True)
class _Job:
    """Samples the rollouts of clips [start, stop) out of `count` and writes them to `out`."""

    root: Path
    params: Params
    policy: Path
    out: Path
    start: int
    stop: int
    count: int

    def run(self) -> None:
        """Sample the rollouts and write the file atomically."""
        settings, compute = self.params.two_turn_grpo, self.params.compute
        make_deterministic(compute.model_copy(update={"seed": compute.seed + self.start}))
        judge = load_reward_model(self.policy, self.params)
        judge.generator.sampler = multinomial(settings.rejection_sampling.temperature)
        judge.generator.max_turn_tokens = settings.max_turn_tokens
        cache_image_encodings(judge.model.requires_grad_(False))
        clips, store = rollout_clips(self.params, self.root)[self.start : self.stop], ClipStore(self.root / DATASET)
        batch_size = max(1, settings.rejection_sampling.rollouts_at_once // settings.rejection_sampling.scans)
        rows: list[ClipRollouts] = []
        for first in range(0, len(clips), batch_size):
            batch = clips[first : first + batch_size]
            rows += sample_rollouts(batch, [store.video(clip) for clip in batch], judge, settings)
        partial = self.out.with_suffix(".partial")
        partial.write_bytes(_ROWS.dump_json(rows))
        partial.rename(self.out)
        scans = settings.rejection_sampling.scans
        print(f"rollouts  {self.stop}/{self.count} clips, {scans} scans of each", flush=True)


def rollout_clips(params: Params, root: Path) -> list[Clip]:
    """Return the clips to sample rollouts of: segments of the GRPO clips in an order shuffled by the seed.

    Skips clips with an anomaly without a window: no reward says which of its rollouts look at the right time.
    """
    clips = grpo_clips(read_clips(root / DATASET, "train"), params.train_partition)
    clips = [one for clip in clips if clip.has_all_windows for one in clip_segments(clip, params.frames)]
    random.Random(params.compute.seed).shuffle(clips)
    return clips[: params.two_turn_grpo.rejection_sampling.clips]


def sample_all_rollouts(params: Params, root: Path, policy: Path, folder: Path) -> list[ClipRollouts]:
    """Sample the rollouts that `folder` does not have yet; return those of each of `rollout_clips`."""
    jobs = list(_jobs(params, root, policy, folder))
    pending = [job for job in jobs[distributed.rank() :: distributed.world_size()] if not job.out.is_file()]
    if best_device() == "cpu":
        list(parallel_map(methodcaller("run"), pending, processes=params.compute.threads, chunk_size=1))
    else:
        list(map(methodcaller("run"), pending))
    distributed.wait_for_everyone()
    return [row for job in jobs for row in _ROWS.validate_json(job.out.read_bytes())]


def _jobs(params: Params, root: Path, policy: Path, folder: Path) -> Iterator[_Job]:
    """Yield the jobs, which do not depend on the number of processes."""
    single_threaded = params.compute.model_copy(update={"threads": 1})
    job_params = params if best_device() != "cpu" else params.model_copy(update={"compute": single_threaded})
    count = len(rollout_clips(params, root))
    for start in range(0, count, CLIPS_PER_JOB):
        out = folder / f"rollouts-{start}.json"
        yield _Job(root, job_params, policy, out, start, min(start + CLIPS_PER_JOB, count), count)
