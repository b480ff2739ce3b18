"""Log a candidate as an MLflow model, and check that it loads and answers as it will for users."""

import re
import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.model.package import SUMS_KEY
from cac.model.package_checksums import sums_digest
from cac.registry.versions import KEY_TAG

if TYPE_CHECKING:
    from cac.registry.candidate import Candidate

_TIMED_CLIPS = 3
_REQUIREMENTS = (
    "cac-reward-model",
    "av",
    "llguidance",
    "numpy",
    "pandas",
    "peft",
    "pillow",
    "safetensors",
    "torch",
    "torchvision",
    "transformers",
)


def log_model(candidate: "Candidate") -> str:
    """Log the package and the card as a pyfunc model and return the logged model's id."""
    import mlflow
    import pandas as pd
    from mlflow.utils.logging_utils import suppress_logs

    from cac.registry.candidate import LOADER
    from cac.registry.pyfunc_model import signature

    # MLflow tests the input example, whose file does not exist; `check_loads` makes the same test with a real one.
    with suppress_logs("mlflow.models.model", re.compile("Failed to validate serving input example")):
        info = mlflow.pyfunc.log_model(
            name=candidate.name,
            python_model=str(LOADER),
            artifacts={name: str(candidate.folder / name) for name in ("package", "model_card")},
            signature=signature(),
            input_example=pd.DataFrame({"video": ["clip.mp4"]}),
            pip_requirements=pinned_requirements(),
            metadata={KEY_TAG: candidate.key, SUMS_KEY: sums_digest(candidate.folder / "package")},
        )
    result: str = info.model_id
    return result


def pinned_requirements() -> list[str]:
    """Return what loading a version needs, pinned to the installed versions (without local labels such as "+cpu")."""
    from importlib.metadata import version

    return [f"{name}=={version(name).partition('+')[0]}" for name in _REQUIREMENTS]


def check_loads(uri: str, candidate: "Candidate") -> float:
    """Load a model as users do, let it judge a small clip, and return the median seconds of further calls.

    Raises:
        CacError: the answer is not one score in [0, 1].
    """
    import mlflow
    import numpy as np

    from cac.video.encode import encode

    clip = candidate.folder / "check.mp4"
    ramp = np.linspace(0, 255, 16 * 64 * 64 * 3).astype(np.uint8)
    encode(clip, ramp.reshape(16, 64, 64, 3), fps=8)
    model = mlflow.pyfunc.load_model(uri)
    scores = list(model.predict([str(clip)])["score"])
    if len(scores) != 1 or not 0 <= scores[0] <= 1:
        raise CacError(f"the model at {uri} answers one clip with the scores {scores}; it is not registered.")
    return median(_seconds(lambda: model.predict([str(clip)])) for _ in range(_TIMED_CLIPS))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
