"""Watching a reward at work: running statistics, and a flag when the generator seems to please the judge by stillness.

The flag `hacking_suspected` is raised when, over the last clips, motion has fallen below a share of what it was over
the first ones while the mean score has risen: the generator earns more for showing less. It means "look at the clips",
and takes nothing back; it goes down when either is over. What it cannot see are hacks that keep moving;
for those the shares of unparsed answers and of scores at the extremes are there to be drawn.

Each process of a distributed run monitors its own clips. Out of scope: drawing, and stopping the run.
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from cac.errors import CacError
from cac.schema.judgement import Judgement

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MonitorSettings:
    """Thresholds of the monitor.

    Attributes:
        window: clips that "the first" and "the last" are; a few training steps.
        motion_share: the flag's bound on motion, as a share of the first clips'.
        score_rise: by how much the mean score must exceed the first clips'.
        still_below: a clip that moves less than this share of the reference motion is still.
        extreme: a score this near to 0 or 1 is at the extremes.
    """

    window: int = 256
    motion_share: float = 0.8
    score_rise: float = 0.02
    still_below: float = 0.1
    extreme: float = 0.01

    def __post_init__(self) -> None:
        shares = (self.motion_share, self.still_below)
        if self.window < 1 or not all(0 < share <= 1 for share in shares):
            raise CacError(f"{self}: window must be at least 1, motion_share and still_below in (0, 1].")


@dataclass(frozen=True)
class Statistics:
    """Statistics of a number of clips.

    Attributes:
        score, motion: means; an unparsed answer's score counts as the reward counts it.
        still_share, unparsed_share: shares of all clips.
        extreme_share: share of the parsed answers whose score is at the extremes; 0 if none was parsed.
    """

    score: float
    motion: float
    still_share: float
    unparsed_share: float
    extreme_share: float


@dataclass(frozen=True)
class _Clip:
    score: float
    motion: float
    parsed: bool


class Monitor:
    """Statistics of the first and of the last clips of a run; `reference` is the motion that is enough."""

    def __init__(self, reference: float, settings: MonitorSettings) -> None:
        self._reference = reference
        self._settings = settings
        self._first: list[_Clip] = []
        self._last: deque[_Clip] = deque(maxlen=settings.window)
        self._seen = 0
        self._suspected = False

    def observe(self, rewarded: Iterable["VideoReward"]) -> None:
        """Take in the clips of a step; a flag that goes up is logged as a warning."""
        for one in rewarded:
            self._add(_Clip(one.score, one.motion, one.parsed))
        was, self._suspected = self._suspected, self._is_suspected()
        if self._suspected and not was:
            _log.warning("%s", self._suspicion())

    @property
    def first(self) -> Statistics | None:
        """The statistics of the run's first `window` clips, or of those there are; None before any."""
        return self._statistics(self._first)

    @property
    def last(self) -> Statistics | None:
        """The statistics of the last `window` clips, or of those there are; None before any."""
        return self._statistics(list(self._last))  # copied, as another thread may add to it

    @property
    def hacking_suspected(self) -> bool:
        """The flag of the module's docstring; down until there are two windows of clips, so that none is in both."""
        return self._suspected

    def metrics(self) -> dict[str, float]:
        """Return the last clips' statistics and the flag (0 or 1) by name, for a trainer's log; empty before any."""
        last = self.last
        return {} if last is None else {**asdict(last), "hacking_suspected": float(self._suspected)}

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs to know, JSON-ready: without it, its start would be the resumption."""
        clips = {"first": [asdict(clip) for clip in self._first], "last": [asdict(clip) for clip in self._last]}
        return {**clips, "seen": self._seen, "suspected": self._suspected}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned; the monitor must have the same settings."""
        self._first = [_Clip(**clip) for clip in state["first"]]
        self._last.clear()
        self._last.extend(_Clip(**clip) for clip in state["last"])
        self._seen, self._suspected = state["seen"], state["suspected"]

    def _add(self, clip: _Clip) -> None:
        if len(self._first) < self._settings.window:
            self._first.append(clip)
        self._last.append(clip)
        self._seen += 1

    def _is_suspected(self) -> bool:
        first, last = self.first, self.last
        if first is None or last is None or self._seen < 2 * self._settings.window:
            return False
        fell = last.motion < self._settings.motion_share * first.motion
        return fell and last.score > first.score + self._settings.score_rise

    def _statistics(self, clips: Sequence[_Clip]) -> Statistics | None:
        if not clips:
            return None
        settings = self._settings
        parsed = [clip for clip in clips if clip.parsed]
        extreme = [min(clip.score, 1 - clip.score) <= settings.extreme for clip in parsed]
        return Statistics(
            score=fmean(clip.score for clip in clips),
            motion=fmean(clip.motion for clip in clips),
            still_share=fmean(clip.motion < settings.still_below * self._reference for clip in clips),
            unparsed_share=fmean(not clip.parsed for clip in clips),
            extreme_share=fmean(extreme) if extreme else 0.0,
        )

    def _suspicion(self) -> str:
        first, last = self.first, self.last
        return (
            f"reward hacking suspected: over {self._settings.window} clips, from {first} at the start to {last} now: "
            "less motion, a higher score. Look at the clips; a larger motion_weight makes standing still dearer."
        )


@dataclass(frozen=True)
class VideoReward:
    """The reward of a video with its parts.

    Attributes:
        reward: as the formula gives it.
        score: what counted as score.
        motion: in frame diagonals a second.
        judgement: the model's, with its evidence; None if there was no video.
    """

    reward: float
    score: float
    motion: float
    judgement: Judgement | None

    @property
    def parsed(self) -> bool:
        """Whether the model judged a video, in an answer that obeys the grammar."""
        return self.judgement is not None and self.judgement.parsed
