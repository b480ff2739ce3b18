"""The registered model as MLflow loads it: videos in, one row of score and evidence a video out.

MLflow copies this file into each model version and runs it on loading ("models from code"), so a version keeps its own
columns and nothing is pickled. It imports MLflow and pandas at the top, because its caller has loaded them; the reward
model itself comes from the installed `cac`. Out of scope: devices, and batching beyond one number. Code that needs
them loads `cac.model.reward_model.RewardModel` from the version's package folder.

Input, a list of videos, a list of dicts, or a DataFrame with these columns:

    video          a path, an `s3://bucket/key` address (endpoint and keys from the environment), the content of a video
                   file as bytes, or an array, uint8 of shape (frames, height, width, 3)
    fps            frames a second of an array; not given with the other forms, which have their own
    prompt         what the video was generated from. It is given back and not judged: the dialogue has no place for it

Output, a row a video in the same order:

    score          calibrated probability, in [0, 1], that the video is clean; about one half if the answer could not be
                   parsed
    verdict        "clean" if the score is at least the threshold, else "anomalous"
    threshold      the lowest score of a clean verdict, chosen on val
    windows        [[start, end], …] in seconds; only with an anomalous verdict
    family, leaf   the kind of anomaly; None on a clean verdict
    boxes          [{"time": seconds, "box": [x1, y1, x2, y2]}, …], coordinates in [0, 1]; likewise
    evidence       the answer's text as generated
    parsed         whether both answers obeyed the grammar
    warnings       why the score may not be what it seems, each "kind: reason"; of the kinds scope, out_of_distribution
                   and unparsed
    prompt         as it was given, or None
    model          models:/NAME/NUMBER, or the folder it was loaded from
    model_version  the registered version it was loaded as; None if loaded by another address
"""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import ModelSignature, set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types.schema import Array, ColSpec, DataType, Object, ParamSchema, ParamSpec, Property, Schema

from cac.errors import CacError
from cac.video.inputs import read_video

DEFAULT_BATCH_SIZE = 8
COLUMNS = ("video", "fps", "prompt")


def signature() -> ModelSignature:
    """Return the model's signature: its output and its parameter.

    Inputs are left to `given_rows`: MLflow's schemas know no array beside text, and with named columns refuse a plain
    list of paths.
    """
    text, number = DataType.string, DataType.double
    box = Object([Property("time", number), Property("box", Array(number))])
    outputs = Schema(
        [
            ColSpec(number, "score"),
            ColSpec(text, "verdict"),
            ColSpec(number, "threshold", required=False),
            ColSpec(Array(Array(number)), "windows"),
            ColSpec(text, "family", required=False),
            ColSpec(text, "leaf", required=False),
            ColSpec(Array(box), "boxes"),
            ColSpec(text, "evidence"),
            ColSpec(DataType.boolean, "parsed"),
            ColSpec(Array(text), "warnings"),
            ColSpec(text, "prompt", required=False),
            ColSpec(text, "model"),
            ColSpec(text, "model_version", required=False),
        ]
    )
    params = ParamSchema([ParamSpec("batch_size", DataType.long, DEFAULT_BATCH_SIZE)])
    return ModelSignature(outputs=outputs, params=params)


class RewardPyfunc(PythonModel):
    """The reward model behind MLflow's generic interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the reward model from the version's package folder."""
        from cac.model.reward_model import RewardModel

        package = Path(context.artifacts["package"])
        self._model = RewardModel.from_package(package)
        self._source, self._version = source_of(package)

    # The hint says less than is taken: MLflow warns of every wider one.
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Judge each video; see the module's docstring for the columns.

        Raises:
            CacError: a video cannot be read; the message names its row, counted from 0.
        """
        given = given_rows(model_input)
        size = (params or {}).get("batch_size", DEFAULT_BATCH_SIZE)
        if size < 1:
            raise CacError(f"batch_size is {size}. Give at least 1.")
        rows = []
        for start in range(0, len(given), size):
            batch = given[start : start + size]
            videos = [read_row(number, row) for number, row in enumerate(batch, start)]
            judgements = self._model.judge(videos, batch_size=size)
            rows += [self._row(*pair) for pair in zip(batch, judgements, strict=True)]
        # Object columns keep None; pandas would turn it into NaN in a column of strings.
        table = pd.DataFrame(rows, columns=signature().outputs.input_names(), dtype=object)
        return table.astype({"score": float, "parsed": bool})

    def _row(self, given: dict[str, Any], judgement: Any) -> dict[str, Any]:
        anomalous = judgement.verdict == "anomalous"
        found = [finding for finding in judgement.findings if finding.box is not None]
        return {
            "score": self._model.score(judgement),
            "verdict": str(judgement.verdict),
            "threshold": self._model.calibration.threshold,
            "windows": [list(window) for window in judgement.windows] if anomalous else [],
            "family": str(judgement.family) if judgement.family else None,
            "leaf": judgement.leaf,
            "boxes": [{"time": f.time, "box": list(f.box)} for f in found] if anomalous else [],
            "evidence": judgement.look_text,
            "parsed": judgement.parsed,
            "warnings": list(judgement.warnings),
            "prompt": cell(given, "prompt"),
            "model": self._source,
            "model_version": self._version,
        }


def given_rows(model_input: Any) -> list[dict[str, Any]]:
    """Return the rows of any form of input, each with the columns it was given.

    Raises:
        CacError: it is of no such form, or has other columns.
    """
    if isinstance(model_input, pd.DataFrame):
        rows = model_input.to_dict(orient="records")
    elif isinstance(model_input, list | tuple | pd.Series):
        rows = [one if isinstance(one, dict) else {"video": one} for one in model_input]
    else:
        raise CacError(f"{type(model_input).__name__} is no input. Give a list of videos, of dicts, or a DataFrame.")
    unknown = {str(name) for row in rows for name in row} - set(COLUMNS)
    if unknown:
        raise CacError(f"the input has the unknown columns {sorted(unknown)}; those there are: {', '.join(COLUMNS)}.")
    result: list[dict[str, Any]] = rows
    return result


def read_row(number: int, row: dict[str, Any]) -> Any:
    """Return the decoded video of an input row.

    Raises:
        CacError: it cannot be read; the message names the row.
    """
    try:
        return read_video(cell(row, "video"), cell(row, "fps"))
    except CacError as error:
        raise CacError(f"row {number}: {error}") from error


def cell(row: dict[str, Any], column: str) -> Any:
    """Return a row's value; None if it is missing, also as pandas writes that."""
    value = row.get(column)
    return None if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else value


def source_of(package: Path) -> tuple[str, str | None]:
    """Return the URI and the number of the version that MLflow notes beside a model it loads from the registry.

    Without a note: the folder, and None.
    """
    import yaml

    note = package.parents[1] / "registered_model_meta"
    if not note.is_file():
        return str(package), None
    meta = yaml.safe_load(note.read_text(encoding="utf-8"))
    name, version = meta.get("model_name"), meta.get("model_version")
    if name is None or version is None:
        return str(package), None
    return f"models:/{name}/{version}", str(version)


set_model(RewardPyfunc())
