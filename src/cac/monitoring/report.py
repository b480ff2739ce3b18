"""The report of one drift check, as it is printed and stored in MLflow."""

from pydantic import BaseModel, ConfigDict, Field

from cac.monitoring.drift import DriftResult


class DriftReport(BaseModel):
    """The result of one drift check. In JSON, `source` is "place" and `already_alarmed` is "left_out".

    Attributes:
        source: the folder or S3 prefix of the clips.
        model: the version that scored them, `models:/NAME/NUMBER`.
        reference: what they were compared with; None if there were too few clips.
        clips: number of clips compared.
        already_alarmed: number of clips skipped because an earlier alarm covered them.
        listing: a hash of the files, the version, the thresholds and the accepted reference.
        outcome: DRIFT, NO_DRIFT, TOO_FEW, or KNOWN if too few clips are without an earlier alarm.
        measures: the drift of each measure.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    source: str = Field(validation_alias="place", serialization_alias="place")
    model: str
    reference: str | None
    clips: int
    already_alarmed: int = Field(validation_alias="left_out", serialization_alias="left_out")
    listing: str
    outcome: str
    measures: tuple[DriftResult, ...]

    @property
    def drifted(self) -> tuple[str, ...]:
        """The measures that drifted."""
        return tuple(result.measure for result in self.measures if result.drifted)

    @property
    def version(self) -> str:
        """The number of the version."""
        return self.model.rpartition("/")[2]


class DriftCheck(BaseModel):
    """A report and the MLflow run that stores it; `new` is false if an earlier check made that run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    report: DriftReport
    run_id: str
    new: bool
