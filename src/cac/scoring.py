"""Scoring video files with a packaged reward model: what `cac score` does.

The model comes from the MLflow registry or from a package folder; nothing else of the project is read, so it works in
any folder. A file that cannot be scored does not keep the others from it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cac.addresses import without_password
from cac.errors import CacError
from cac.geometry import Window
from cac.judgement import Judgement
from cac.video import Video, decode

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from cac.model.reward_model import RewardModel

_BATCH_SIZE = 8  # videos decoded and judged at a time


@dataclass(frozen=True)
class Scored:
    """A video's judgement; `score` in [0, 1] is the calibrated probability that it is clean."""

    path: Path
    score: float
    judgement: Judgement

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows in seconds where the model sees an anomaly; none with a clean verdict."""
        return self.judgement.windows if self.judgement.verdict == "anomalous" else ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object `cac score --json` prints."""
        judgement = self.judgement
        return {
            "video": str(self.path),
            "score": self.score,
            "verdict": judgement.verdict,
            "windows": [list(window) for window in self.windows],
            "family": judgement.family,
            "leaf": judgement.leaf,
            "findings": [asdict(finding) for finding in judgement.findings],
            "parsed": judgement.parsed,
        }


@dataclass(frozen=True)
class Failed:
    """A file that could not be scored, and why."""

    path: Path
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object `cac score --json` prints."""
        return {"video": str(self.path), "error": self.message}


def load_model(uri: str, package: Path | None) -> "RewardModel":
    """Load the model of a package folder, or else of an MLflow model URI.

    Raises:
        CacError: there is no such model, or it is no CaC model.
    """
    if package is not None and not package.is_dir():
        raise CacError(f"no model package at {package}. Name a folder with reward_model.json in it.")
    with nullcontext(package) if package else _fetched(uri) as folder:
        from cac.model.reward_model import RewardModel

        return RewardModel.from_package(folder)


@contextmanager
def _fetched(uri: str) -> Iterator[Path]:
    """Give a local folder with the package of a registered model; an alias is resolved once.

    What comes from a server is removed afterwards; of a store in a file the very folder is given.
    """
    from cac.registry.aliases import is_missing
    from cac.registry.tracking import connect

    client = connect()
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    with TemporaryDirectory(prefix="cac-model-") as scratch:
        place = None if client.tracking_uri.startswith("sqlite:") else scratch
        try:
            folder = Path(download_artifacts(artifact_uri=_resolve(client, uri), dst_path=place))
            artifacts = Model.load(str(folder)).flavors["python_function"]["artifacts"]
            package = folder / artifacts["package"]["path"]
        except MlflowException as error:
            if not is_missing(error):
                raise
            said = f"no model at {uri} in {without_password(client.tracking_uri)}: {error.message}"
            raise CacError(f"{said} Register one with `make run`, or name another.") from error
        except KeyError as error:
            raise CacError(f"{uri} is no CaC reward model: it has no {error} in its MLmodel file.") from error
        yield package


def _resolve(client: "MlflowClient", uri: str) -> str:
    """Return the URI with an alias replaced by the version it names now."""
    name, at, alias = uri.removeprefix("models:/").partition("@")
    if not at:
        return uri
    return f"models:/{name}/{client.get_model_version_by_alias(name, alias).version}"


def score_files(model: "RewardModel", paths: Sequence[Path]) -> Iterator[Scored | Failed]:
    """Yield each file's judgement in the order given, or why there is none."""
    for start in range(0, len(paths), _BATCH_SIZE):
        batch = paths[start : start + _BATCH_SIZE]
        videos = [_decode(path) for path in batch]
        judgements = iter(model.judge([video for video in videos if isinstance(video, Video)], _BATCH_SIZE))
        for path, video in zip(batch, videos, strict=True):
            if isinstance(video, Failed):
                yield video
                continue
            judgement = next(judgements)
            yield Scored(path, model.score(judgement), judgement)


def _decode(path: Path) -> Video | Failed:
    try:
        return decode(path)
    except CacError as error:
        return Failed(path, str(error))


def draw_overlay(scored: Scored, out: Path) -> None:
    """Write the video again with window, boxes, verdict and score drawn."""
    from cac.drawing import overlay_video

    overlay_video(decode(scored.path), scored.judgement, scored.score, out)
