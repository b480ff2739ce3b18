"""The plan of a run: source, model, settings and listing, fixed so that a resumed run writes the same table.

Batches are slices of the fixed listing, so they do not depend on where a run was interrupted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from cac.batch.listing import ListedVideo
from cac.errors import CacError
from cac.video.stream import Limits

BATCHES_IN_A_PART = 4


@dataclass(frozen=True)
class BatchSettings:
    """How videos are read and judged.

    Attributes:
        batch_size: videos judged together; a score can differ in the eighth decimal with it.
        max_bytes: of a file.
        limits: of a decoded video.
        device: as PyTorch names it.
    """

    batch_size: int = 8
    max_bytes: int = 512_000_000
    limits: Limits = field(default_factory=Limits)
    device: str = "cpu"

    def check(self) -> None:
        """Check the ranges.

        Raises:
            CacError: a setting is out of range.
        """
        if self.batch_size < 1 or self.max_bytes < 1:
            raise CacError("--batch-size must be 1 or more, --max-mb more than 0.")
        if not (self.limits.seconds > 0 and self.limits.frame_pixels > 0):
            raise CacError("--max-seconds and --max-megapixels must be more than 0.")


@dataclass(frozen=True)
class Plan:
    """A run: the source as given, the version `models:/NAME/NUMBER`, the settings, and the listing."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    source: str
    model: str
    settings: BatchSettings
    videos: tuple[ListedVideo, ...]

    @property
    def part_size(self) -> int:
        """Number of videos per part."""
        return self.settings.batch_size * BATCHES_IN_A_PART

    @property
    def parts(self) -> list[tuple[ListedVideo, ...]]:
        """The listing, divided into parts."""
        size = self.part_size
        return [self.videos[start : start + size] for start in range(0, len(self.videos), size)]

    def provenance(self) -> dict[str, Any]:
        """Return what the scores depend on besides the videos, as JSON-ready data."""
        return {"model": self.model, "settings": asdict(self.settings)}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; `from_dict` reads it back."""
        data: dict[str, Any] = _ADAPTER.dump_python(self)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Plan":
        """Read the data that `to_dict` wrote.

        Raises:
            ValidationError: a field is missing, unknown or of another type.
        """
        return _ADAPTER.validate_python(data)


_ADAPTER = TypeAdapter(Plan)


def plan_difference(before: Plan, now: Plan) -> str | None:
    """Describe how an interrupted run differs from the requested one; None if it does not."""
    if before.source != now.source:
        return f"it reads {before.source}, not {now.source}"
    if before.model != now.model:
        return f"its model is {before.model}, not {now.model}"
    if before.settings != now.settings:
        return f"its settings are {before.settings}, not {now.settings}"
    return listing_difference(before.videos, now.videos)


def listing_difference(before: Sequence[ListedVideo], now: Sequence[ListedVideo]) -> str | None:
    """Name the first file in which two listings differ; None if there is none."""
    for old, new in zip_longest(before, now):
        if old == new:
            continue
        if old is None or (new is not None and new.name < old.name):
            return f"{new.name} is new"
        if new is None or old.name < new.name:
            return f"{old.name} is gone"
        return f"{old.name} has changed"
    return None
