"""TODO."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cac.monitoring.drift import Moved

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Report:
    """What came of a monitoring.

    Attributes:
        place: where the clips were.
        model: the version that scored them, `models:/NAME/NUMBER`.
        reference: what they were compared with; None if they were too few.
        clips: how many were judged.
        left_out: how many were not, as an alarm was sent about them before.
        listing: a hash of the files, the version, the bounds and what was accepted.
        outcome: DRIFT, NO_DRIFT, TOO_FEW, or KNOWN where the place holds nothing that an alarm was not sent about.
        measures: how far each moved.
    """

    place: str
    model: str
    reference: str | None
    clips: int
    left_out: int
    listing: str
    outcome: str
    measures: tuple[Moved, ...]

    @property
    def drifted(self) -> tuple[str, ...]:
        """The measures that drifted."""
        return tuple(one.measure for one in self.measures if one.drifted)

    @property
    def version(self) -> str:
        """The number of the version."""
        return self.model.rpartition("/")[2]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Report":
        """Read what `dataclasses.asdict` made, also after a JSON round trip."""
        return cls(**{**data, "measures": tuple(Moved.from_dict(one) for one in data["measures"])})
