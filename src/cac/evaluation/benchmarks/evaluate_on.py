"""`cac evaluate-on`: evaluate a model on a benchmark that somebody else made, in the benchmark's terms.

The folder holds the benchmark's files and its videos, and stays the user's: nothing of it is copied. In the out folder
`judged.jsonl` grows while the model judges; `metrics.json` and `predictions.jsonl` follow at the end. Rows that a
reader does not understand and videos that cannot be read are counted and named, never scored.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from cac.data.exchange.label_map import LabelMap, load_label_map
from cac.errors import CacError, printable
from cac.evaluation.benchmarks.answers import answer, measure, predictions
from cac.evaluation.benchmarks.formats import BENCHMARKS
from cac.evaluation.benchmarks.judge import Judge, judge_videos
from cac.evaluation.benchmarks.judged_file import Judged, JudgedFile, open_judged
from cac.evaluation.benchmarks.questions import Reading, Reasons
from cac.evaluation.benchmarks.results import Result
from cac.evaluation.benchmarks.videos import Located, locate

JUDGED, METRICS_FILE, PREDICTIONS = "judged.jsonl", "metrics.json", "predictions.jsonl"
_SHOWN = 3  # names in a message


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate on.

    Attributes:
        benchmark: a key of `BENCHMARKS`.
        folder: the benchmark's files and videos.
        label_map: a file that says which leaf each of the benchmark's kinds of artefact is.
        out: the folder to write.
        batch_size: videos judged together.
        strict: refuse to measure if anything is refused, missing or unreadable.
    """

    benchmark: str
    folder: Path
    label_map: Path | None
    out: Path
    batch_size: int = 8
    strict: bool = False


@dataclass(frozen=True)
class BenchmarkReport:
    """The results, and all that was not measured, by reason.

    Attributes:
        benchmark, model: of what, and by which version.
        questions: how many were understood.
        answered: how many are measured.
        videos: how many were judged.
        results: a task or a part of one each.
        refused_rows: rows that were not understood.
        skipped: what the benchmark's own evaluation skips.
        unusable_videos: missing, ambiguous or unreadable.
        unanswered: questions that are not measured.
        unlocated: clips whose evidence cannot be used for metrics of when and where.
    """

    benchmark: str
    model: str
    questions: int
    answered: int
    videos: int
    results: list[Result]
    refused_rows: Reasons
    skipped: Reasons
    unusable_videos: Reasons
    unanswered: Reasons
    unlocated: Reasons


def evaluate_on(request: EvaluationRequest, load_judge: Callable[[], Judge]) -> BenchmarkReport:
    """Judge the benchmark's videos and write the results into the out folder; an interrupted run is resumed.

    Args:
        request: what to evaluate on.
        load_judge: loads the model; called once the benchmark is read, so that its faults are named at once.

    Raises:
        CacError: the benchmark cannot be read, nothing of it can be measured, `out` belongs to another model or
            benchmark, or with `strict` something is refused.
    """
    _check(request)
    label_map = load_label_map(request.label_map) if request.label_map else LabelMap()
    reading = _read(request, label_map)
    located = locate((name for question in reading.questions for name in question.videos), request.folder)
    _refuse(request, "video", located.missing)
    judge = load_judge()
    with open_judged(request.out / JUDGED, request.benchmark, judge.source) as file:
        judged = _judge(request, judge, located, file)
        answers = answer(reading.questions, judged)
        _refuse(request, "question", answers.unanswered)
        if not len(answers):
            raise CacError(f"{request.folder}: no question can be answered. {_counted(located.missing)}.")
        results, unlocated = measure(answers, label_map)
        report = BenchmarkReport(
            benchmark=request.benchmark,
            model=judge.source,
            questions=len(reading.questions),
            answered=len(answers),
            videos=len({clip.video for clip in judged.values()}),
            results=results,
            refused_rows=dict(reading.refused),
            skipped=dict(reading.skipped),
            unusable_videos=dict(located.missing),
            unanswered=dict(answers.unanswered),
            unlocated=dict(unlocated),
        )
        _write(request.out / PREDICTIONS, (json.dumps(line, sort_keys=True) for line in predictions(answers)))
        _write(request.out / METRICS_FILE, [json.dumps(asdict(report), indent=2, sort_keys=True)])
    return report


def _read(request: EvaluationRequest, label_map: LabelMap) -> Reading:
    reading = BENCHMARKS[request.benchmark](request.folder, label_map)
    _refuse(request, "row", reading.refused)
    if not reading.questions:
        raise CacError(f"{request.folder}: no question can be used. {_counted(reading.refused) or 'There are none'}.")
    return reading


def _judge(request: EvaluationRequest, judge: Judge, located: Located, file: JudgedFile) -> dict[str, Judged]:
    """Return the judgement of each video by its name in the benchmark; unreadable ones become missing."""
    outcome = judge_videos(judge, located.paths, file, request.batch_size)
    for name, key in located.keys.items():
        if key in outcome.unreadable:
            located.missing[outcome.unreadable[key]].append(name)
    _refuse(request, "video", located.missing)
    return {name: outcome.judged[key] for name, key in located.keys.items() if key in outcome.judged}


def _check(request: EvaluationRequest) -> None:
    if request.batch_size < 1:
        raise CacError(f"--batch-size is {request.batch_size}. Give at least 1.")
    if not request.folder.is_dir():
        raise CacError(f"no folder at {request.folder}. Name the folder with the benchmark's files and videos.")
    if request.out.resolve() == request.folder.resolve():
        raise CacError(f"--out {request.out} is the benchmark's own folder, where results would be read as its rows.")


def _refuse(request: EvaluationRequest, what: str, reasons: Reasons) -> None:
    """With `strict`, refuse everything if there is a reason."""
    count = sum(map(len, reasons.values()))
    if request.strict and count:
        raise CacError(f"--strict: {count} {what}s cannot be used, so nothing was measured. {_counted(reasons)}.")


def _counted(reasons: Reasons) -> str:
    return "; ".join(
        f"{reason} ({len(names)}: {', '.join(map(printable, names[:_SHOWN]))}{', …' if len(names) > _SHOWN else ''})"
        for reason, names in reasons.items()
    )


def _write(path: Path, lines: Iterable[str]) -> None:
    """Write a text file atomically."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
