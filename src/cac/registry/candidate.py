"""The candidate for registration: the last checkpoint as a package, with model card, predictions and key.

A candidate is built in a scratch folder from the pipeline's outputs under the project's root, and only if all of them
come from one run. This module does not use MLflow; `register.py` turns a candidate into a version.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.evaluation.familiar_clips import read_familiarity
from cac.evaluation.intervals import Interval
from cac.evaluation.metrics import METRICS
from cac.model.calibration import Calibration
from cac.params import Params
from cac.paths import DATASET, EVALUATION, EVALUATION_METRICS, MODELS, TWO_TURN_GRPO
from cac.registry.card.card_data import CardData, summarise_dataset
from cac.registry.card.card_files import write_card
from cac.registry.gate import GATE_METRICS
from cac.registry.predictions import EVALUATION_SET_TAG, Predictions, check_metrics_match, read_predictions
from cac.registry.versions import INCOMPLETE, KEY_TAG, REGISTRATION_TAG, metric_tag
from cac.schema.dialogue import DIALOGUE_VERSION
from cac.schema.taxonomy import TAXONOMY_VERSION
from cac.tracking.lineage import check_lineage, lineage_json, stage_tags
from cac.tracking.run_state import file_sha256, folder_sha256, json_sha256, read_run_state

CHECKPOINT = TWO_TURN_GRPO
ADAPTER = MODELS / CHECKPOINT
CALIBRATION = EVALUATION / "calibration.json"
LOADER = Path(__file__).with_name("pyfunc_model.py")
_EVALUATED = tuple(name for name in GATE_METRICS if name in METRICS)  # the gate's metrics that an evaluation gives


@dataclass(frozen=True)
class Candidate:
    """A checkpoint ready for registration.

    Attributes:
        folder: a scratch folder with `package/` and `model_card/`.
        key: one hash of all that determines the model and its evaluation.
        facts: the content of its model card.
        lineage: the tags with what it was made from.
        lineage_text: the full lineage as JSON.
    """

    folder: Path
    key: str
    facts: CardData
    lineage: dict[str, str]
    lineage_text: str

    @property
    def name(self) -> str:
        """The registered model's name."""
        return self.facts.params.registry.model_name

    @property
    def measured(self) -> Predictions:
        """Its predictions on the test split."""
        return self.facts.measured

    @property
    def metrics(self) -> dict[str, float]:
        """The checkpoint's defined test metrics."""
        values = {name: interval["value"] for name, interval in self.facts.metrics[self.facts.row].items()}
        return {name: value for name, value in values.items() if value is not None}

    def tags(self) -> dict[str, str]:
        """Return the tags of the new version, marked as incomplete."""
        return {
            **self.lineage,
            **{metric_tag(name): repr(self.metrics[name]) for name in _EVALUATED},
            EVALUATION_SET_TAG: self.measured.evaluation_set,
            "checkpoint": CHECKPOINT,
            "base": self.facts.params.model.base,
            "dialogue_version": DIALOGUE_VERSION,
            "taxonomy_version": TAXONOMY_VERSION,
            KEY_TAG: self.key,
            REGISTRATION_TAG: INCOMPLETE,
        }


def build_candidate(root: Path, params: Params, folder: Path) -> Candidate:
    """Build the candidate from the checkpoint under `root`, in an empty folder.

    Raises:
        CacError: an input is missing or incomplete, or not of the same run as the others.
    """
    from cac.model.package import PackageSettings, write_package

    facts = read_card_data(root, params)
    stages = check_lineage(root, params, facts.state)
    package = folder / "package"
    settings = PackageSettings(
        params.model,
        params.frames,
        facts.calibration,
        params.evaluation.max_turn_tokens,
        read_familiarity(root),
    )
    write_package(package, root / ADAPTER, settings)
    write_card(facts, root / DATASET, folder / "model_card")
    evaluation = [file_sha256(root / EVALUATION_METRICS), json_sha256(facts.measured.to_lines())]
    key = json_sha256([folder_sha256(package), file_sha256(LOADER), *evaluation])
    lineage = facts.state.tags() | stage_tags(stages)
    return Candidate(folder, key, facts, lineage, lineage_json(facts.state, stages))


def read_card_data(root: Path, params: Params) -> CardData:
    """Read the model card's content for the checkpoint under `root`.

    Raises:
        CacError: the adapter, the evaluation or the calibration is missing or incomplete, or the answers are not those
            behind the metrics.
    """
    if not (root / ADAPTER / "adapter_config.json").is_file():
        raise CacError(f"no adapter in {root / ADAPTER}. Train it first: `dvc repro`.")
    splits = {split: _intervals(rows) for split, rows in _read_json(root / EVALUATION_METRICS).items()}
    metrics = splits.get("test", {}).get(CHECKPOINT, {})
    missing = [name for name in _EVALUATED if metrics.get(name, {}).get("value") is None]
    if missing:
        raise CacError(
            f"{root / EVALUATION_METRICS}: test.{CHECKPOINT} lacks {', '.join(missing)}. Run `dvc repro evaluate`."
        )
    calibration = _read_calibration(root / CALIBRATION)
    measured = read_predictions(root, CHECKPOINT, calibration)
    check_metrics_match(measured, metrics, _EVALUATED, params.evaluation.calibration_bins)
    state = read_run_state(root, params)
    return CardData(params, state, splits, CHECKPOINT, calibration, measured, summarise_dataset(root / DATASET))


def _read_calibration(path: Path) -> Calibration:
    values = _read_json(path).get(CHECKPOINT, {})
    if set(values) != {"temperature", "bias", "threshold"} or not values["temperature"] > 0:
        raise CacError(f"{path}: no temperature, bias and threshold of {CHECKPOINT}. Run `dvc repro --force evaluate`.")
    return Calibration(**values)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CacError(f"cannot read {path}: {error.strerror}. Evaluate first: `dvc repro`.") from error
    except json.JSONDecodeError as error:
        raise CacError(f"{path} is not valid JSON: {error}. Run `dvc repro --force evaluate`.") from error
    if not isinstance(content, dict):
        raise CacError(f"{path} holds no JSON object. Run `dvc repro --force evaluate`.")
    return content


def _intervals(metrics: dict[str, Any]) -> dict[str, dict[str, Interval]]:
    """Keep of each row the metrics that are a value with its interval."""
    return {
        row: {name: entry for name, entry in entries.items() if isinstance(entry, dict) and "value" in entry}
        for row, entries in metrics.items()
    }
