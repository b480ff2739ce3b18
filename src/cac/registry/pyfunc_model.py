"""The registered model as MLflow loads it: paths of videos in, one row of score and evidence a video out.

MLflow copies this file into each model version and runs it on loading ("models from code"), so a version keeps its own
output columns and nothing is pickled. It imports MLflow and pandas at the top, for whoever runs it has them loaded; the
reward model itself comes from the installed `cac`. It leaves out devices and batching policy beyond one number: code
that wants more loads `cac.model.reward_model.RewardModel` from the version's package folder.

Input: a DataFrame whose column `video` holds paths, or a plain list of paths. Output, a row a video in the same order:

    score          calibrated probability, in [0, 1], that the video is clean; 0.5 if the answer could not be parsed
    verdict        "clean" or "anomalous"
    windows        [[start, end], …] in seconds; only with an anomalous verdict
    family, leaf   the kind of anomaly; None on a clean verdict
    boxes          [{"time": seconds, "box": [x1, y1, x2, y2]}, …], coordinates in [0, 1]; likewise
    evidence       the answer's text as generated
    parsed         whether both answers obeyed the grammar
    model_version  the registered version it was loaded as; None if loaded by another address
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import ModelSignature, set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types.schema import Array, ColSpec, DataType, Object, ParamSchema, ParamSpec, Property, Schema

DEFAULT_BATCH_SIZE = 8


def signature() -> ModelSignature:
    """Return the model's signature. The input column is unnamed, as MLflow refuses plain lists for a named one."""
    text, number = DataType.string, DataType.double
    box = Object([Property("time", number), Property("box", Array(number))])
    outputs = Schema(
        [
            ColSpec(number, "score"),
            ColSpec(text, "verdict"),
            ColSpec(Array(Array(number)), "windows"),
            ColSpec(text, "family", required=False),
            ColSpec(text, "leaf", required=False),
            ColSpec(Array(box), "boxes"),
            ColSpec(text, "evidence"),
            ColSpec(DataType.boolean, "parsed"),
            ColSpec(text, "model_version", required=False),
        ]
    )
    params = ParamSchema([ParamSpec("batch_size", DataType.long, DEFAULT_BATCH_SIZE)])
    return ModelSignature(inputs=Schema([ColSpec(text)]), outputs=outputs, params=params)


class RewardPyfunc(PythonModel):
    """The reward model behind MLflow's generic interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the reward model from the version's package folder."""
        from cac.model.reward_model import RewardModel

        package = Path(context.artifacts["package"])
        self._model = RewardModel.from_package(package)
        self._version = registered_version(package)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Judge each video; see the module's docstring for the columns.

        Raises:
            CacError: the input has no column of paths, or a file is missing or no video.
        """
        from cac.video import decode

        paths = video_paths(model_input)
        size = (params or {}).get("batch_size", DEFAULT_BATCH_SIZE)
        rows = []
        for start in range(0, len(paths), size):
            videos = [decode(path) for path in paths[start : start + size]]
            rows += [self._row(judgement) for judgement in self._model.judge(videos, batch_size=size)]
        # Object columns keep None; pandas would turn it into NaN in a column of strings.
        table = pd.DataFrame(rows, columns=signature().outputs.input_names(), dtype=object)
        return table.astype({"score": float, "parsed": bool})

    def _row(self, judgement: Any) -> dict[str, Any]:
        anomalous = judgement.verdict == "anomalous"
        found = [finding for finding in judgement.findings if finding.box is not None]
        return {
            "score": self._model.score(judgement),
            "verdict": str(judgement.verdict),
            "windows": [list(window) for window in judgement.windows] if anomalous else [],
            "family": str(judgement.family) if judgement.family else None,
            "leaf": judgement.leaf,
            "boxes": [{"time": f.time, "box": list(f.box)} for f in found] if anomalous else [],
            "evidence": judgement.look_text,
            "parsed": judgement.parsed,
            "model_version": self._version,
        }


def video_paths(model_input: pd.DataFrame) -> list[str]:
    """Return the paths in a DataFrame: its column `video`, or the one column MLflow makes of a list.

    Raises:
        CacError: there is no such column.
    """
    from cac.errors import CacError

    columns = list(model_input.columns)
    if columns not in (["video"], [0]):
        raise CacError(f"the input's first column is {columns[:1]}; give a list of paths, or one column named 'video'.")
    return [str(path) for path in model_input[columns[0]]]


def registered_version(package: Path) -> str | None:
    """Return the version that MLflow notes beside a model it loads from the registry; None if it noted none."""
    import yaml

    note = package.parents[1] / "registered_model_meta"
    if not note.is_file():
        return None
    version = yaml.safe_load(note.read_text(encoding="utf-8")).get("model_version")
    return None if version is None else str(version)


set_model(RewardPyfunc())
