"""The questions of any benchmark in one form: is this clip anomalous, what is wrong with it, which of two is better.

A reader turns each row of a benchmark into one of these or refuses it with a reason. Out of scope: videos
(`videos.py`), judging (`judge.py`) and metrics (`measures.py`).
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from cac.data.exchange.interchange import ImportedClip

Reasons = dict[str, list[str]]  # a reason → the names of what it concerns

FIRST, SECOND, TIE = 1, -1, 0  # a preference


@dataclass(frozen=True)
class YesNo:
    """Whether a clip is anomalous.

    Attributes:
        name: unique in the benchmark.
        task: what the benchmark calls the task.
        video: its name in the benchmark.
        anomalous: the truth.
        group: questions with the same group are not independent, such as a real clip and its fakes.
        subset: the part of the benchmark that it belongs to, such as a level or a generator; None for none.
        evidence: when, where and what, if the benchmark says so.
    """

    name: str
    task: str
    video: str
    anomalous: bool
    group: str
    subset: str | None = None
    evidence: ImportedClip | None = None

    @property
    def videos(self) -> tuple[str, ...]:
        """The videos that must be judged to answer."""
        return (self.video,)


@dataclass(frozen=True)
class Option:
    """One of the kinds of artefact to choose from.

    Attributes:
        label: the benchmark's name for it.
        leaf: our leaf for it; None if we have none, so that no judgement can name it.
        is_right: whether the clip shows it.
    """

    label: str
    leaf: str | None
    is_right: bool


@dataclass(frozen=True)
class Naming:
    """Which of some kinds of artefact a clip shows; several may be right. Attributes as in `YesNo`."""

    name: str
    task: str
    video: str
    options: tuple[Option, ...]
    subset: str | None = None

    @property
    def group(self) -> str:
        """Questions about one video are not independent."""
        return self.video

    @property
    def videos(self) -> tuple[str, ...]:
        """The videos that must be judged to answer."""
        return (self.video,)


@dataclass(frozen=True)
class Pair:
    """Which of two clips is better, in one or several respects.

    Attributes:
        preferences: the respect → FIRST, SECOND or TIE.
        group: as in `YesNo`; here the prompt that both clips were made from, where there is one.
    """

    name: str
    first: str
    second: str
    preferences: Mapping[str, int]
    group: str
    subset: str | None = None

    @property
    def videos(self) -> tuple[str, ...]:
        """The videos that must be judged to answer."""
        return (self.first, self.second)


Question = YesNo | Naming | Pair


@dataclass
class Reading:
    """What was read of a benchmark.

    Attributes:
        questions: those that were understood.
        refused: the rows that were not, by reason.
        skipped: what the benchmark's own evaluation skips, by reason.
    """

    questions: list[Question] = field(default_factory=list)
    refused: Reasons = field(default_factory=lambda: defaultdict(list))
    skipped: Reasons = field(default_factory=lambda: defaultdict(list))
