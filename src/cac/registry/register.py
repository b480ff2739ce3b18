"""Registration: the last checkpoint as a version of the registered model, once.

A version is keyed by what determines the model: its package (weights, tokenizer, calibration), the code it is loaded
with, and its evaluation. It carries its test answers, clip by clip, for comparisons with versions to come. Registering
the same again returns the version there is. The tag `registration` turns to "complete" last, so a crash leaves a
version that the next registration finishes, and that is never promoted. Left out: moving aliases (`aliases.py`), and
training or measuring anything but how long a clip takes.
"""

import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cac.dialogue import DIALOGUE_VERSION
from cac.errors import CacError
from cac.evaluation.calibration import Calibration
from cac.layout import EVALUATION, EVALUATION_METRICS, MODELS, TWO_TURN_GRPO
from cac.params import Params
from cac.registry.fingerprint import file_sha256, fingerprint, folder_sha256, json_sha256
from cac.registry.gate import FLOORS
from cac.registry.measured import Measured, check_agreement, read_measured
from cac.registry.measured_store import EVALUATION_SET_TAG, keep
from cac.registry.model_card import CardFacts, Interval, model_card, summary
from cac.registry.tracking import StageRun, connect, stage_run
from cac.taxonomy import TAXONOMY_VERSION

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHECKPOINT = TWO_TURN_GRPO
ADAPTER = MODELS / CHECKPOINT
CALIBRATION = EVALUATION / "calibration.json"
LOADER = Path(__file__).with_name("pyfunc_model.py")

KEY_TAG = "registration_key"
REGISTRATION_TAG = "registration"
COMPLETE, INCOMPLETE, SUPERSEDED = "complete", "incomplete", "superseded"
SECONDS_TAG = "seconds_per_clip"  # a tag and no metric: it depends on the machine and how busy it is
GATE_METRICS = (*FLOORS, "expected_calibration_error")
_TIMED_CLIPS = 3

_REQUIREMENTS = (
    "cac-reward-model",
    "av",
    "numpy",
    "pandas",
    "peft",
    "pillow",
    "safetensors",
    "torch",
    "torchvision",
    "transformers",
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RegisteredVersion:
    """A complete version of the registered model; `created` is false if it was there before."""

    name: str
    version: str
    key: str
    created: bool

    @property
    def uri(self) -> str:
        """The address MLflow loads it by."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class _Candidate:
    """What is to be registered, in a scratch folder: `package/`, `MODEL_CARD.md`, and the facts and answers of it."""

    folder: Path
    key: str
    facts: CardFacts
    measured: Measured

    @property
    def name(self) -> str:
        """The registered model's name."""
        return self.facts.params.registry.model_name

    @property
    def metrics(self) -> dict[str, float]:
        """The checkpoint's defined test metrics."""
        values = {name: interval["value"] for name, interval in self.facts.metrics[self.facts.row].items()}
        return {name: value for name, value in values.items() if value is not None}


def register(root: Path, params: Params) -> RegisteredVersion:
    """Register the checkpoint under `root` and return its version; the one there is if it was registered before.

    Raises:
        CacError: an input is missing or incomplete, or MLflow's store cannot be used.
    """
    facts = read_facts(root, params)
    client = connect()
    with TemporaryDirectory(prefix="cac-register-") as scratch:
        candidate = _assemble(root, facts, Path(scratch))
        known = _known_version(client, candidate)
        if known is not None:
            return known
        with stage_run("register", params) as run:
            version = _create_version(run, candidate)
        return _complete(client, candidate, version, created=True)


def metric_tag(metric: str) -> str:
    """Return the version's tag that holds a test metric."""
    return f"test_{metric}"


def value_tag(name: str) -> str:
    """Return the version's tag that holds a number the gate reads."""
    return name if name == SECONDS_TAG else metric_tag(name)


def read_facts(root: Path, params: Params) -> CardFacts:
    """Read what there is to say of the checkpoint under `root`.

    Raises:
        CacError: the adapter, the evaluation or the calibration is missing or incomplete.
    """
    if not (root / ADAPTER / "adapter_config.json").is_file():
        raise CacError(f"no adapter in {root / ADAPTER}. Train it first: `dvc repro`.")
    metrics = _read_json(root / EVALUATION_METRICS).get("test", {})
    missing = [name for name in GATE_METRICS if metrics.get(CHECKPOINT, {}).get(name, {}).get("value") is None]
    if missing:
        raise CacError(
            f"{root / EVALUATION_METRICS}: test.{CHECKPOINT} lacks {', '.join(missing)}. Run `dvc repro evaluate`."
        )
    calibration = _read_calibration(root / CALIBRATION)
    return CardFacts(params, fingerprint(root, params), _intervals(metrics), CHECKPOINT, calibration)


def _read_calibration(path: Path) -> Calibration:
    values = _read_json(path).get(CHECKPOINT, {})
    if set(values) != {"temperature", "bias"} or not values["temperature"] > 0:
        raise CacError(f"{path}: no temperature and bias of {CHECKPOINT}. Run `dvc repro --force evaluate`.")
    return Calibration(values["temperature"], values["bias"])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CacError(f"cannot read {path}: {error.strerror}. Evaluate first: `dvc repro`.") from error
    except json.JSONDecodeError as error:
        raise CacError(f"{path} is not valid JSON: {error}. Make it anew with `dvc repro --force evaluate`.") from error
    if not isinstance(content, dict):
        raise CacError(f"{path} holds no JSON object. Make it anew with `dvc repro --force evaluate`.")
    return content


def _intervals(metrics: dict[str, Any]) -> dict[str, dict[str, Interval]]:
    """Keep of each row the metrics that are a value with its interval."""
    return {
        row: {name: entry for name, entry in entries.items() if isinstance(entry, dict) and "value" in entry}
        for row, entries in metrics.items()
    }


def _assemble(root: Path, facts: CardFacts, folder: Path) -> _Candidate:
    from cac.model.package import PackageSettings, write_package

    package, params = folder / "package", facts.params
    settings = PackageSettings(params.model, params.frames, facts.calibration, params.evaluation.max_turn_tokens)
    write_package(package, root / ADAPTER, settings)
    (folder / "MODEL_CARD.md").write_text(model_card(facts), encoding="utf-8")
    measured = _read_answers(root, facts)
    evaluation = [file_sha256(root / EVALUATION_METRICS), json_sha256(measured.to_lines())]
    key = json_sha256([folder_sha256(package), file_sha256(LOADER), *evaluation])
    return _Candidate(folder, key, facts, measured)


def _read_answers(root: Path, facts: CardFacts) -> Measured:
    """Read the answers behind the metrics, and see that they are."""
    measured = read_measured(root, facts.row, facts.calibration)
    check_agreement(measured, facts.metrics[facts.row], GATE_METRICS, facts.params.evaluation.calibration_bins)
    return measured


def _known_version(client: "MlflowClient", candidate: _Candidate) -> RegisteredVersion | None:
    """Return the version with the candidate's key, finishing one whose registration was cut off."""
    matches = client.search_model_versions(f"name = '{candidate.name}' AND tags.{KEY_TAG} = '{candidate.key}'")
    found = sorted(matches, key=lambda version: int(version.version))
    for version in found:
        if version.tags[REGISTRATION_TAG] == COMPLETE:
            return RegisteredVersion(candidate.name, str(version.version), candidate.key, created=False)
    for version in found:
        if version.tags[REGISTRATION_TAG] == INCOMPLETE and _survived(client, candidate, version):
            return _complete(client, candidate, version, created=False)
    return None


def _survived(client: "MlflowClient", candidate: _Candidate, version: "ModelVersion") -> bool:
    """Tell whether a cut-off version can be loaded; one that cannot is marked as superseded."""
    from mlflow.exceptions import MlflowException

    try:
        _check_loads(f"models:/{version.name}/{version.version}", candidate)
    except (MlflowException, CacError, OSError) as error:
        _log.warning("version %s of %s cannot be loaded, superseding it: %s", version.version, version.name, error)
        client.set_model_version_tag(version.name, str(version.version), REGISTRATION_TAG, SUPERSEDED)
        return False
    return True


def _create_version(run: StageRun, candidate: _Candidate) -> "ModelVersion":
    """Log the model, see that it loads and answers, and make an incomplete version of it."""
    import mlflow
    from mlflow.exceptions import MlflowException

    run.log_metrics({metric_tag(name): value for name, value in candidate.metrics.items()})
    model_id = _log_model(candidate)
    mlflow.log_metrics(candidate.metrics, run_id=run.run_id, model_id=model_id)
    source = f"models:/{model_id}"
    seconds = _check_loads(source, candidate)
    tags = {
        **_version_tags(candidate),
        SECONDS_TAG: repr(round(seconds, 4)),
        **keep(run.client, run.run_id, candidate.measured),
    }
    try:
        run.client.create_registered_model(candidate.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return run.client.create_model_version(candidate.name, source, run_id=run.run_id, tags=tags, model_id=model_id)


def _log_model(candidate: _Candidate) -> str:
    """Log the package as a pyfunc model and return the logged model's id."""
    import mlflow
    import pandas as pd
    from mlflow.utils.logging_utils import suppress_logs

    from cac.registry.pyfunc_model import signature

    card = candidate.folder / "MODEL_CARD.md"
    # MLflow tries its input example, which names no real file; `_check_loads` makes the same test with one.
    with suppress_logs("mlflow.models.model", re.compile("Failed to validate serving input example")):
        info = mlflow.pyfunc.log_model(
            name=candidate.name,
            python_model=str(LOADER),
            artifacts={"package": str(candidate.folder / "package"), "model_card": str(card)},
            signature=signature(),
            input_example=pd.DataFrame({"video": ["clip.mp4"]}),
            pip_requirements=pinned_requirements(),
            metadata={KEY_TAG: candidate.key},
        )
    return info.model_id


def pinned_requirements() -> list[str]:
    """Return what loading a version needs, pinned to what is installed (without local labels such as "+cpu")."""
    from importlib.metadata import version

    return [f"{name}=={version(name).partition('+')[0]}" for name in _REQUIREMENTS]


def _check_loads(uri: str, candidate: _Candidate) -> float:
    """Load a model as its users will, let it judge a small clip, and return the seconds a clip takes it after that.

    Raises:
        CacError: it does not answer with one score in [0, 1].
    """
    import mlflow
    import numpy as np
    import pandas as pd

    from cac.video import encode

    clip = candidate.folder / "check.mp4"
    ramp = np.linspace(0, 255, 16 * 64 * 64 * 3).astype(np.uint8)
    encode(clip, ramp.reshape(16, 64, 64, 3), fps=8)
    model = mlflow.pyfunc.load_model(uri)
    videos = pd.DataFrame({"video": [str(clip)]})
    scores = list(model.predict(videos)["score"])
    if len(scores) != 1 or not 0 <= scores[0] <= 1:
        raise CacError(f"the model at {uri} answers one clip with the scores {scores}; it is not registered.")
    return median(_seconds(lambda: model.predict(videos)) for _ in range(_TIMED_CLIPS))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _version_tags(candidate: _Candidate) -> dict[str, str]:
    metrics = {metric_tag(name): repr(candidate.metrics[name]) for name in GATE_METRICS}
    return {
        **candidate.facts.state.tags(),
        **metrics,
        EVALUATION_SET_TAG: candidate.measured.evaluation_set,
        "checkpoint": CHECKPOINT,
        "base": candidate.facts.params.model.base,
        "dialogue_version": DIALOGUE_VERSION,
        "taxonomy_version": TAXONOMY_VERSION,
        KEY_TAG: candidate.key,
        REGISTRATION_TAG: INCOMPLETE,
    }


def _complete(
    client: "MlflowClient", candidate: _Candidate, version: "ModelVersion", created: bool
) -> RegisteredVersion:
    """Describe a version and mark its registration as complete, in this order."""
    number = str(version.version)
    client.update_model_version(candidate.name, number, description=summary(candidate.facts))
    client.set_model_version_tag(candidate.name, number, REGISTRATION_TAG, COMPLETE)
    return RegisteredVersion(candidate.name, number, candidate.key, created)
