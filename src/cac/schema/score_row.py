"""The one schema of an output: a row of `cac score --json`, the server's response, a row of batch scoring.

`docs/reference/score.schema.json` is its JSON Schema. The columns equal those of the registered model;
`registry/pyfunc_model.py` keeps a copy of its own on purpose: MLflow copies it into each version, so the columns of a
version never change.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cac.schema.geometry import Window
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import Family

Share = Annotated[float, Field(ge=0, le=1)]


class TimedBox(BaseModel):
    """The anomaly's box at one time."""

    model_config = ConfigDict(extra="forbid")

    time: float = Field(ge=0, description="Seconds from the start of the clip.")
    box: tuple[Share, Share, Share, Share] = Field(description="x1, y1, x2, y2 as shares of width and height.")


class ScoreRow(BaseModel):
    """The score of one video, with its evidence, and what made it."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    score: Share = Field(description="Calibrated probability that the video is clean.")
    verdict: Literal["clean", "anomalous"] = Field(description="clean if the score is at least the threshold.")
    threshold: Share | None = Field(
        description="The lowest score of a clean verdict, chosen on val; null in versions registered before it "
        "existed, whose verdict is the model's own."
    )
    windows: list[Window] = Field(description="[start, end] in seconds; only with an anomalous verdict.")
    family: Family | None = Field(description="The kind of anomaly.")
    leaf: str | None = Field(description="The kind within the family.")
    boxes: list[TimedBox] = Field(description="Where the anomaly is; only with an anomalous verdict.")
    evidence: str = Field(description="The last answer as generated.")
    parsed: bool = Field(description="Whether the answers obeyed the grammar; if not, the score says nothing.")
    warnings: list[str] = Field(
        description='Why the score may not be what it seems, each "kind: reason". Kinds: scope, out_of_distribution, '
        "unparsed."
    )
    model: str = Field(description="models:/NAME/NUMBER, or the folder of a package.")
    model_version: str | None = Field(description="The number of the registered version; null for a package.")


COLUMNS = tuple(ScoreRow.model_fields)


def score_row(score: float, judgement: Judgement, threshold: float | None, model: str) -> dict[str, Any]:
    """Return an output as plain data.

    Args:
        score: calibrated probability that the video is clean.
        judgement: with the verdict of that score.
        threshold: the lowest score of a clean verdict; None if the verdict is the model's own.
        model: where it comes from, as in `PinnedModel.source`.
    """
    anomalous = judgement.verdict == "anomalous"
    boxes = [{"time": one.time, "box": one.box} for one in judgement.findings if one.box is not None]
    row = ScoreRow(
        score=score,
        verdict=judgement.verdict,
        threshold=threshold,
        windows=list(judgement.windows) if anomalous else [],
        family=judgement.family,
        leaf=judgement.leaf,
        boxes=boxes if anomalous else [],  # type: ignore[arg-type]  # pydantic makes them
        evidence=judgement.look_text,
        parsed=judgement.parsed,
        warnings=list(judgement.warnings),
        model=model,
        model_version=version_of(model),
    )
    return row.model_dump(mode="json")


def version_of(model: str) -> str | None:
    """Return the number in `models:/NAME/NUMBER`; None for anything else."""
    prefix, _, number = model.rpartition("/")
    return number if prefix.startswith("models:/") and number.isdecimal() else None
