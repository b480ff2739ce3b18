"""Evaluation: every checkpoint and both baselines on val and the test splits, the calibration, and the report.

The calibration of each checkpoint is fitted on val; the test splits are read here and nowhere else. How the checkpoints
judge is in `judging.py`.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from cac.evaluation.calibrate import calibrate
from cac.evaluation.ceiling import PERFECT_ANSWERS, perfect_judgements
from cac.evaluation.facts import Facts, clip_facts
from cac.evaluation.familiar_clips import write_familiarity
from cac.evaluation.groups import Groups, evaluate_groups
from cac.evaluation.intervals import Interval, evaluate_facts, paired_difference, per_family
from cac.evaluation.judging import CONSTRAINED_BASE, Judgements, judge_all
from cac.evaluation.report import ReportInputs, write_report
from cac.model.adapter_files import require_adapter
from cac.model.calibration import Calibration
from cac.model.loading import make_deterministic
from cac.params import Params
from cac.paths import (
    COMPARISONS,
    DATASET,
    EVALUATION,
    EVALUATION_METRICS,
    EVALUATION_REPORT,
    GROUPS,
    HISTORIES,
    MODELS,
    SCRATCH,
    TRAINING_STAGES,
)
from cac.schema.annotations import EXTRA_SPLITS, REQUIRED_SPLITS, Clip, Split, read_clips
from cac.schema.judgement import Judgement
from cac.training.checkpoints import remove
from cac.training.rewards import total_reward
from cac.video.clip_store import ClipStore

FINAL = TRAINING_STAGES[-1]
SPLITS: tuple[Split, ...] = ("val", "test", *EXTRA_SPLITS)


Parts = dict[Split, list[Clip]]
AllFacts = dict[Split, dict[str, Facts]]  # split -> row name -> facts of its clips
AllRewards = dict[str, dict[Split, list[float]]]  # row name -> split -> one a clip


def evaluate(params: Params, root: Path) -> None:
    """Write the metrics, the comparisons of checkpoints, predictions, calibration, and the report.

    Raises:
        CacError: the dataset or a stage's adapter is missing or does not fit.
    """
    for stage in TRAINING_STAGES:
        require_adapter(root / MODELS / stage)
    make_deterministic(params.compute)
    parts = _read_parts(root / DATASET)
    judgements = judge_all(params, root, list(parts))
    judgements[PERFECT_ANSWERS] = {split: perfect_judgements(clips, params.frames) for split, clips in parts.items()}
    calibrations = {name: calibrate(rows["val"], parts["val"], params.frames) for name, rows in judgements.items()}
    rewards = _rewards(judgements, parts, params)
    judgements = _decided(judgements, calibrations)
    facts = _facts(judgements, calibrations, rewards, parts, params)
    metrics = _measure(facts, params)
    groups = _groups(judgements[FINAL], calibrations[FINAL], parts, params)
    _write_numbers(root, {EVALUATION_METRICS: metrics, COMPARISONS: _compare(facts, params), GROUPS: groups})
    _write_predictions(root, judgements, calibrations, parts)
    write_familiarity(root, params, root / MODELS / FINAL)
    _report(root, params, metrics, groups, (judgements[FINAL]["test"], calibrations[FINAL], parts["test"]))
    remove(root / SCRATCH / "checkpoints" / "evaluate")


def _read_parts(dataset: Path) -> Parts:
    """Read the splits to judge; skip an optional split without clips."""
    clips = {split: read_clips(dataset, split) for split in SPLITS}
    return {split: rows for split, rows in clips.items() if rows or split in REQUIRED_SPLITS}


def _rewards(judgements: Judgements, parts: Parts, params: Params) -> AllRewards:
    """Return the total reward of every answer as training gives it, before the threshold decides the verdict."""
    return {
        name: {
            split: [total_reward(one, clip, params.two_turn_grpo) for one, clip in zip(rows[split], clips, strict=True)]
            for split, clips in parts.items()
        }
        for name, rows in judgements.items()
    }


def _decided(judgements: Judgements, calibrations: Mapping[str, Calibration]) -> Judgements:
    """Return the judgements with the verdicts that their scores give."""
    return {
        name: {split: [calibrations[name].decide(one) for one in own] for split, own in rows.items()}
        for name, rows in judgements.items()
    }


def _scores(judgements: Sequence[Judgement], calibration: Calibration) -> list[float]:
    return [calibration.probability(judgement) for judgement in judgements]


def _facts(
    judgements: Judgements, calibrations: dict[str, Calibration], rewards: AllRewards, parts: Parts, params: Params
) -> AllFacts:
    bins = params.evaluation.calibration_bins
    return {
        split: {
            name: clip_facts(clips, rows[split], _scores(rows[split], calibrations[name]), bins, rewards[name][split])
            for name, rows in judgements.items()
        }
        for split, clips in parts.items()
    }


def _measure(facts: AllFacts, params: Params) -> dict[str, dict[str, dict[str, Interval]]]:
    """Return split -> row -> metric -> value with its interval."""
    samples, seed = params.evaluation.bootstrap_samples, params.compute.seed
    return {
        split: {name: evaluate_facts(row, samples, seed) for name, row in rows.items()} for split, rows in facts.items()
    }


def _compare(facts: AllFacts, params: Params) -> dict[str, dict[str, dict[str, Interval]]]:
    """Return split -> "row minus row" -> metric -> difference with its interval over the same resampled pairs."""
    samples, seed = params.evaluation.bootstrap_samples, params.compute.seed
    return {
        split: {
            f"{later} minus {earlier}": paired_difference(rows[later], rows[earlier], samples, seed)
            for earlier, later in (
                *pairwise((CONSTRAINED_BASE, *TRAINING_STAGES)),
                *((row, FINAL) for row in ("base", CONSTRAINED_BASE, "frame_difference")),
            )
        }
        for split, rows in facts.items()
    }


def _groups(
    judgements: dict[str, list[Judgement]], calibration: Calibration, parts: Parts, params: Params
) -> dict[Split, Groups]:
    """Return split -> "length" or "size" -> group -> metric -> value with its interval."""
    samples, seed = params.evaluation.bootstrap_samples, params.compute.seed
    return {
        split: evaluate_groups(clips, judgements[split], _scores(judgements[split], calibration), samples, seed)
        for split, clips in parts.items()
    }


def _write_numbers(root: Path, contents: Mapping[Path, object]) -> None:
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_predictions(root: Path, judgements: Judgements, calibrations: dict[str, Calibration], parts: Parts) -> None:
    shutil.rmtree(root / EVALUATION, ignore_errors=True)
    (root / EVALUATION).mkdir()
    fitted = json.dumps({name: asdict(row) for name, row in calibrations.items()}, indent=2, sort_keys=True)
    (root / EVALUATION / "calibration.json").write_text(fitted + "\n", encoding="utf-8")
    with (root / EVALUATION / "predictions.jsonl").open("w", encoding="utf-8") as file:
        for name, rows in judgements.items():
            for split, clips in parts.items():
                for clip, judgement in zip(clips, rows[split], strict=True):
                    score = calibrations[name].probability(judgement)
                    line = {"row": name, "split": split, "clip_id": clip.clip_id, "score": round(score, 6)}
                    file.write(json.dumps({**line, "judgement": judgement.to_dict()}, sort_keys=True) + "\n")


def _report(
    root: Path,
    params: Params,
    metrics: dict[str, dict[str, dict[str, Interval]]],
    groups: Mapping[Split, Groups],
    final: tuple[list[Judgement], Calibration, list[Clip]],
) -> None:
    judgements, calibration, clips = final
    scores = _scores(judgements, calibration)
    samples, seed = params.evaluation.bootstrap_samples, params.compute.seed
    inputs = ReportInputs(
        metrics=metrics,
        final=FINAL,
        clips=clips,
        judgements=judgements,
        scores=scores,
        per_family=per_family(clips, judgements, scores, samples, seed),
        groups={split: rows for split, rows in groups.items() if split != "val"},
        load_video=ClipStore(root / DATASET).video,
        histories={stage: root / HISTORIES / f"{stage}.json" for stage in TRAINING_STAGES},
        bins=params.evaluation.calibration_bins,
        shown=params.evaluation.report_clips,
    )
    write_report(inputs, root / EVALUATION_REPORT)
