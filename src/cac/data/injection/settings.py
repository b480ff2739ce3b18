"""Settings of an injection, with the bounds that limit memory and keep them meaningful."""

from dataclasses import dataclass

from cac.data.injection.catalogue import INJECTABLE
from cac.errors import CacError

# A segment's frames and flow lie in memory together: a gigabyte at these bounds.
SIZES = (64, 512)  # pixels
SECONDS = (1.0, 10.0)


@dataclass(frozen=True)
class InjectionSettings:
    """Settings of `cac data inject`.

    Attributes:
        seed: the same folder and seed give the same bytes.
        pairs_per_clip: pairs to try of each segment.
        leaves: the defects to make, cycling within their families.
        val_ratio, test_ratio: ratios of the source videos.
        segment_seconds: the maximum length of a segment.
        size: the longer side of the clips, in pixels; smaller videos are not enlarged.

    Raises:
        CacError: a value is out of bounds.
    """

    seed: int = 7
    pairs_per_clip: int = 2
    leaves: tuple[str, ...] = INJECTABLE
    val_ratio: float = 0.15
    test_ratio: float = 0.2
    segment_seconds: float = 3.0
    size: int = 256

    def __post_init__(self) -> None:
        unknown = [leaf for leaf in self.leaves if leaf not in INJECTABLE]
        if unknown or not self.leaves:
            raise CacError(f"--leaves: cannot make {', '.join(unknown) or 'nothing'}. Known: {', '.join(INJECTABLE)}.")
        if self.pairs_per_clip < 1:
            raise CacError(f"--pairs-per-clip {self.pairs_per_clip} makes nothing; ask for at least 1.")
        if self.seed < 0:
            raise CacError(f"--seed {self.seed} is negative; give 0 or more.")
        if not (self.val_ratio >= 0 and self.test_ratio >= 0 and self.val_ratio + self.test_ratio < 1):
            raise CacError("--val-ratio and --test-ratio must not be negative, and must leave some for training.")
        for name, value, (low, high) in (
            ("--size", self.size, SIZES), ("--segment-seconds", self.segment_seconds, SECONDS)
        ):  # fmt: skip
            if not low <= value <= high:
                raise CacError(f"{name} {value:g} is out of bounds; give {low:g} to {high:g}.")
