"""Small benchmarks on real video files: grey clips whose brightness is the answer of the judge `BrightIsClean`."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.judges import LEAF, BrightIsClean, clip
from PIL import Image

from cac.evaluation.benchmarks.evaluate_on import BenchmarkReport, EvaluationRequest, evaluate_on
from cac.video.encode import encode

# Brightness → what the judge says of it; the scores are far apart enough for what encoding changes.
DARK, DIM, BRIGHT, BRIGHTER, UNPARSED = 20, 70, 180, 220, 250
PREFERENCES = ("path_A", "path_B", "A_model", "B_model", "prompt", "VQ", "MQ", "TA", "Overall")


def make_videos(folder: Path, brightness: Mapping[str, int]) -> None:
    """Write an mp4 of one second for each name."""
    for name, value in brightness.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        encode(folder / name, clip(value).frames, 8)


def make_frames(folder: Path, brightness: int, times: bool = True) -> None:
    """Write a folder of eight numbered frames, with their times as ViF-Bench has them."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(clip(brightness).frames, start=1):
        Image.fromarray(frame).save(folder / f"{number}.png")
    if times:
        (folder / "timestamps.txt").write_text("".join(f"{number / 8:.3f}\n" for number in range(8)))


def write_jsonl(path: Path, rows: Sequence[Any]) -> None:
    """Write one JSON value a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def write_pairs(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write VideoGen-RewardBench's CSV; columns are those of the first row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def pair(first: str, second: str, overall: str, prompt: str = "a dog", **others: str) -> dict[str, str]:
    """Return a row of VideoGen-RewardBench."""
    answers = {"VQ": overall, "MQ": overall, "TA": overall, "Overall": overall} | others
    return {"path_A": first, "path_B": second, "A_model": "x", "B_model": "y", "prompt": prompt, **answers}


def yes_no(number: int, video: str, answer: Any, **others: Any) -> dict[str, Any]:
    """Return a row of Artifact-Bench's task 1."""
    row = {"task_type": 1, "sample_id": number, "video_path": [video], "answer": answer, "level": "easy"}
    return row | others


def naming(number: int, video: str, options: Mapping[str, bool], **others: Any) -> dict[str, Any]:
    """Return a row of Artifact-Bench's task 3; `options` are names and whether they are right."""
    texts = [f"{name}: what that is" for name in options]
    right = [index for index, is_right in enumerate(options.values()) if is_right]
    letters = ["ABCDEF"[index] for index in right]
    row = {
        "task_type": 3,
        "sample_id": number,
        "video_path": [video],
        "option": texts,
        "answer_idx": right,
        "answer_letter": letters,
        "option_dic": [{"label": text, "is_correct": index in right} for index, text in enumerate(texts)],
        "answer": ",".join(letters),
        "level": "medium",
    }
    return row | others


def label_map(folder: Path, **labels: str) -> Path:
    """Write a label map; an underscore stands for a space, and `LEAF` for the leaf that the judge names."""
    path = folder / "labels.yaml"
    lines = [f"  {name.replace('_', ' ')}: {LEAF if leaf == 'LEAF' else leaf}\n" for name, leaf in labels.items()]
    path.write_text("labels:\n" + "".join(lines), encoding="utf-8")
    return path


def evaluate(benchmark: str, folder: Path, labels: Path | None = None, **others: Any) -> BenchmarkReport:
    """Evaluate the judge that goes by brightness; the out folder is `out` beside the benchmark."""
    judge = others.pop("judge", None) or BrightIsClean()
    out = others.pop("out", folder.parent / "out")
    return evaluate_on(EvaluationRequest(benchmark, folder, labels, out, **others), lambda: judge)


def values(report: BenchmarkReport, task: str, subset: str | None = None) -> dict[str, float | None]:
    """Return the values of a result's metrics."""
    (result,) = [one for one in report.results if (one.task, one.subset) == (task, subset)]
    return {name: interval["value"] for name, interval in result.metrics.items()}
