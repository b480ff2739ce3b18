"""A project folder, and for every verb commands with a wrong input: they must change nothing in it.

`{clip}` in a command is the id of a clip of `data/`. `spoil` names what is done to the folder before, see `SPOILED`.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cac.batch.table import join_parts, write_part
from cac.schema.annotations import CARD_NAME, MANIFEST_NAME

ROOT = Path(__file__).parents[2]
QUESTION = {"task_type": 1, "sample_id": 1, "video_path": ["clip.mp4"], "answer": "yes", "level": "easy"}
MODEL = "models:/cac-reward-model/1"
NO_STORE = "there is no MLflow store at"


@dataclass(frozen=True)
class Wrong:
    """A command line with a wrong input, a part of the message it must give, and what happens to the folder first."""

    command: str
    says: str
    spoil: str = "nothing"


def make_project(folder: Path, dataset: Path, store: Path) -> None:
    """Make a project that has one of everything a verb might replace; `store` is a folder with an MLflow store."""
    shutil.copytree(dataset, folder / "data")
    shutil.copytree(dataset, folder / "other")
    shutil.copytree(store / ".mlflow", folder / ".mlflow")
    clip = next(iter(sorted((folder / "data" / "clips").iterdir()))).read_bytes()
    for name in ("params.yaml", "dvc.yaml", "metrics/evaluation.json"):
        _write(folder / name, (ROOT / name).read_bytes())
    files = {
        "data.dvc": b"outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n",
        "reports/validation/result.json": b"{}\n",
        "reports/validation/data_docs/index.html": b"<p>found\n",
        "notes/todo.txt": b"a person's own notes\n",
        "card/MODEL_CARD.md": b"# An earlier card\n",
        "results/full-7.json": b'{"variant": "full", "se',
        "cut.json": b'{"images": [',
        "cut.yaml": b'evaluation: {batch_size: "',
        "unknown.yaml": b"evaluation:\n  bach_size: 2\n",
        "videos/clip.mp4": clip,
        "seen.mp4": clip,
        "broken/cut.mp4": clip[:200],
        "cut.parquet": b"PAR1 and no more",
        "models/single_frame_sft/adapter_config.json": b"{}",
        "models/single_frame_sft/adapter_model.safetensors": b"cut",
        "package/reward_model.json": b'{"cut',
        "bench/task1_meta.jsonl": json.dumps(QUESTION).encode(),
        "bench/clip.mp4": clip,
    }
    for name, content in files.items():
        _write(folder / name, content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _cut(name: str) -> Callable[[Path], None]:
    """Return what truncates a file of the project."""
    return lambda project: _write(project / name, (project / name).read_bytes()[:100])


def _cut_clips(project: Path) -> None:
    for path in (project / "data" / "clips").iterdir():
        path.write_bytes(path.read_bytes()[:100])


def _remove(*names: str) -> Callable[[Path], None]:
    def remove(project: Path) -> None:
        for name in names:
            path = project / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def _write_table(project: Path) -> None:
    """Write a table as an earlier `cac score-batch` leaves it."""
    part, scratch = project / "part", project / "scratch"
    write_part(part, [])
    join_parts([part], project / "own.parquet", scratch, {"model": MODEL})
    part.unlink()


SPOILED: dict[str, Callable[[Path], None]] = {
    "nothing": lambda project: None,
    "no store": _remove(".mlflow"),
    "cut store": _cut(".mlflow/mlflow.db"),
    "empty store": lambda project: _write(project / ".mlflow" / "mlflow.db", b""),
    "no data": _remove("data"),
    "no clips": _remove("data/clips"),
    "cut clips": _cut_clips,
    "cut manifest": _cut(f"data/{MANIFEST_NAME}"),
    "no adapters": _remove("models", ".mlflow"),
    "no project": _remove("params.yaml", "dvc.yaml", "data.dvc", ".mlflow"),
    "no dvc.yaml": _remove("dvc.yaml"),
    "no benchmark videos": _remove("bench/clip.mp4"),
    "no data.dvc": _remove("data.dvc"),
    "own table": _write_table,
    "cut metrics": _cut("metrics/evaluation.json"),
    "cut decision": lambda project: _write(project / ".scratch" / "decision.json", b'{"model_name": "m"'),
}

DATA = {
    "data build": [
        Wrong("--out notes", f"it has no {CARD_NAME}"),
        Wrong("--out data", "holds a dataset"),
        Wrong("--out params.yaml", "is a file"),
        Wrong("--out data/again", "is inside the dataset"),
        Wrong("--out new", "no settings at", "no project"),
    ],
    "data validate": [
        Wrong("--data nowhere", "no dataset folder for nowhere"),
        Wrong("--data nowhere --out new/findings", "no dataset folder for nowhere"),
        Wrong("", "no dataset folder for data", "no data"),
        Wrong("--data other --out reports/validation", "for the pipeline's check of data/"),
        Wrong("--data other --out reports/validation/other", "for the pipeline's check of data/"),
        Wrong("--manifest-only --out reports/validation", "for the pipeline's check of data/"),
        Wrong("--data other --out notes", "holds todo.txt"),
        Wrong("--data other --out other/findings", "is inside the dataset"),
        Wrong("--data other --out params.yaml", "is a file"),
        Wrong("--reference typo", "there is no folder typo"),
    ],
    "data show": [
        Wrong("--data nowhere --out new/sheet.png", "no manifest at nowhere"),
        Wrong("--clips typo --out new/sheet.png", "no clip typo"),
        Wrong("--out sheet.jpg", "must end in .png"),
        Wrong("--out data/sheet.png", "is inside the dataset"),
        Wrong("--out params.yaml/sheet.png", "params.yaml is a file"),
        Wrong("--clips {clip} --out new/sheet.png", "clips/{clip}.mp4", "cut clips"),
    ],
    "data import": [
        Wrong("coco nowhere.json --videos videos --out new", "nowhere.json"),
        Wrong("coco cut.json --videos videos --out new/set", "cut.json"),
        Wrong("coco cut.json --videos nowhere --out new", "nowhere"),
        Wrong("coco cut.json --videos videos --labels nowhere.yaml --out new", "nowhere.yaml"),
        Wrong("coco cut.json --videos videos --out data", "holds a dataset"),
        Wrong("coco cut.json --videos videos --out notes", f"it has no {CARD_NAME}"),
        Wrong("coco cut.json --videos videos --out new --val-ratio 2", "--val-ratio"),
        Wrong("coca cut.json --videos videos --out new", "invalid choice"),
    ],
    "data export": [
        Wrong("coco --data nowhere --out new/out.json", "no manifest at nowhere"),
        Wrong(f"coco --out data/{MANIFEST_NAME}", "is inside the dataset"),
        Wrong("coco --out notes", "is a folder"),
        Wrong("cvat --out notes", "no empty folder"),
        Wrong("cvat --out params.yaml/xml", "params.yaml is a file"),
        Wrong("coca --out out.json", "invalid choice"),
    ],
    "data inject": [
        Wrong("nowhere --out new", "no folder at nowhere"),
        Wrong("videos --out data", "holds a dataset"),
        Wrong("videos --out new --leaves typo", "cannot make typo"),
        Wrong("videos --out new --size 1", "--size 1 is out of bounds"),
        Wrong("broken --out new/set", "no pair could be made of broken"),
    ],
    "data leak-check": [
        Wrong("nowhere --out new/leaks.json", "no manifest at nowhere"),
        Wrong("data --out leaks.txt", "must end in .json"),
        Wrong(f"data --out other/{CARD_NAME}", "is inside the dataset"),
        Wrong("data --out new/leaks.json", "clips/", "cut clips"),
    ],
    "data merge": [
        Wrong("data nowhere --out new", "no manifest at nowhere"),
        Wrong("data nowhere --out data", "no manifest at nowhere"),
        Wrong("data data --out other", "holds a dataset"),
        Wrong("data other --out notes", f"it has no {CARD_NAME}"),
        Wrong("data other --out data --val-ratio 0.1", "go together"),
        Wrong("other data --out other", "differ from their manifest", "cut clips"),
    ],
    "data split": [
        Wrong("nowhere --val-ratio 0.1 --test-ratio 0.1", "no manifest at nowhere"),
        Wrong("data --val-ratio 0.9 --test-ratio 0.9", "--val-ratio"),
        Wrong("data --val-ratio 0.1", "--test-ratio"),
        Wrong("data --val-ratio 0.1 --test-ratio 0.1 --out other", "holds a dataset"),
        Wrong("data --val-ratio 0.1 --test-ratio 0.1", "not valid JSON", "cut manifest"),
    ],
    "data stats": [
        Wrong("nowhere --out new", "no manifest at nowhere"),
        Wrong("data --out data", "is inside the dataset"),
        Wrong("data --out params.yaml", "params.yaml is a file"),
        Wrong("data --out new/stats", "not valid JSON", "cut manifest"),
    ],
    "data diff": [
        Wrong("nowhere data", "there is no folder nowhere"),
        Wrong("data data", "not valid JSON", "cut manifest"),
    ],
    "data deliver": [
        Wrong("nowhere s3://landing/in", "nowhere"),
        Wrong("data http://landing", "is not an S3 URL"),
        Wrong("data s3://landing/in --name a/b", "not a valid name"),
        Wrong("data s3://landing/in", "there is no file clips/", "no clips"),
    ],
}  # fmt: skip

MODELS = {
    "train": [
        Wrong("one_frame_sft", "invalid choice"),
        Wrong("single_frame_sft", "no manifest at", "no data"),
        Wrong("single_frame_sft", "not valid JSON", "cut manifest"),
        Wrong("multi_frame_sft", "adapter_model.safetensors cannot be read"),
        Wrong("two_turn_grpo", "no adapter at", "no adapters"),
        Wrong("single_frame_sft", "no settings at", "no project"),
    ],
    "plan": [
        Wrong("--data nowhere", "no manifest at nowhere"),
        Wrong("", "not valid JSON", "cut manifest"),
        Wrong("", "no settings at", "no project"),
    ],
    "evaluate": [
        Wrong("", "no adapter at", "no adapters"),
        Wrong("", "no settings at", "no project"),
    ],
    "evaluate-on": [
        Wrong("artefact-bench bench", "invalid choice"),
        Wrong("artifact-bench nowhere --out new", "no folder at nowhere"),
        Wrong("artifact-bench notes --out new", "notes"),
        Wrong("artifact-bench bench --out new --package nowhere", "no model package at nowhere"),
        Wrong("artifact-bench bench --out new --package package", "package"),
        Wrong(f"artifact-bench bench --out new --model {MODEL}", NO_STORE, "no store"),
        Wrong(f"artifact-bench bench --out new --model {MODEL}", "No such artifact"),
        Wrong("artifact-bench bench --out new --label-map nowhere.yaml", "nowhere.yaml"),
        Wrong("artifact-bench bench --out new --batch-size 0", "--batch-size"),
        Wrong("artifact-bench bench --out bench", "is the benchmark's own folder"),
        Wrong("artifact-bench bench --out data", "is inside the dataset"),
        Wrong("artifact-bench bench --out params.yaml", "params.yaml is a file"),
        Wrong("artifact-bench bench --out new --strict", "cannot be used", "no benchmark videos"),
    ],
    "register": [
        Wrong("", "no adapter in", "no adapters"),
        Wrong("", "no settings at", "no project"),
        Wrong("--out params.yaml", "must end in .json"),
    ],
    "promote": [
        Wrong("--version 1", NO_STORE, "no store"),
        Wrong("--version 1", "is not an MLflow store", "cut store"),
        Wrong("--version 99", "no version 99"),
        Wrong("--version 1 --out params.yaml", "must end in .json"),
        Wrong("--out new/decision.json", "--version"),
    ],
    "veto": [
        Wrong("--version 1 --reason bad", NO_STORE, "no store"),
        Wrong("--version 99 --reason bad", "no version 99"),
        Wrong("--version 1 --reason=", "needs a reason"),
    ],
    "rollback": [
        Wrong("--reason bad", NO_STORE, "no store"),
        Wrong("--reason bad", "has no champion"),
        Wrong("--reason=", "needs a reason"),
    ],
    "pin": [
        Wrong("--version 1 --reason bad", NO_STORE, "no store"),
        Wrong("--version 99 --reason bad", "no version 99"),
    ],
    "registry": [
        Wrong("", NO_STORE, "no store"),
        Wrong("", "is not an MLflow store", "cut store"),
        Wrong("", "it has no tables of MLflow", "empty store"),
        Wrong("", "no settings at", "no project"),
    ],
    "model-card": [
        Wrong("--out new/card", "no adapter in", "no adapters"),
        Wrong("--out card", "a model card is never overwritten"),
        Wrong("--out data/card", "is inside the dataset"),
    ],
    "reproduce": [
        Wrong("1", "no flows/__main__.py in"),
    ],
    "score": [
        Wrong("videos/clip.mp4", NO_STORE, "no project"),
        Wrong("videos/clip.mp4", "is not an MLflow store", "cut store"),
        Wrong("videos/clip.mp4 --model models:/typo@champion", "no model at models:/typo@champion"),
        Wrong("videos/clip.mp4 --package nowhere", "no model package at nowhere"),
        Wrong("videos/clip.mp4 --package package", "reward_model.json"),
        Wrong("videos/clip.mp4 --overlay new/x.avi", "must end in .mp4"),
        Wrong("videos/clip.mp4 --overlay seen.mp4", "seen.mp4 exists"),
        Wrong("videos/clip.mp4 --overlay data/clips/{clip}.mp4", "is inside the dataset"),
        Wrong("videos/clip.mp4 seen.mp4 --overlay new/x.mp4", "draws one video"),
    ],
    "serve": [
        Wrong("--port 0", NO_STORE, "no project"),
        Wrong("--port 0 --model typo", "can't be pinned to a version"),
        Wrong("--port 0 --batch-size 0", "--batch-size must be 1 or more"),
    ],
    "score-batch": [
        Wrong(f"videos --out new/scores.parquet --model {MODEL}", NO_STORE, "no project"),
        Wrong(f"nowhere --out new/scores.parquet --model {MODEL}", "no folder at nowhere"),
        Wrong("videos --out new/scores.parquet --model models:/typo@champion", "has no alias 'champion'"),
        Wrong(f"videos --out scores.csv --model {MODEL}", "must end in .parquet"),
        Wrong(f"videos --out cut.parquet --model {MODEL}", "cut.parquet exists"),
        Wrong(f"videos --out cut.parquet --restart --model {MODEL}", "so it is not replaced"),
        Wrong(f"videos --out own.parquet --restart --model {MODEL}", "No such artifact", "own table"),
        Wrong(f"videos --out data/scores.parquet --model {MODEL}", "is inside the dataset"),
        Wrong(f"videos --out new/scores.parquet --model {MODEL}", "No such artifact"),
        Wrong(f"videos --out new/scores.parquet --model {MODEL} --batch-size 0", "--batch-size must be 1 or more"),
    ],
    "ablate run": [
        Wrong("typo --seed 7 --out new/x.json", "no variant 'typo'"),
        Wrong("full --seed 7 --out params.yaml", "must end in .json"),
        Wrong("full --seed 7 --out new/x.json", "no manifest at", "no data"),
    ],
    "ablate table": [
        Wrong("nowhere --out new", "no ablation results in nowhere"),
        Wrong("results --out new/table", "full-7.json is no readable JSON"),
        Wrong("metrics --out new/table", "is no result of `cac ablate run`"),
        Wrong("results --out params.yaml", "params.yaml is a file"),
    ],
    "params apply": [
        Wrong("nowhere.yaml", "no overlay at nowhere.yaml"),
        Wrong("cut.yaml", "is not valid YAML"),
        Wrong("unknown.yaml", "evaluation.bach_size: unknown key"),
    ],
    "drift check": [
        Wrong("videos", NO_STORE, "no store"),
        Wrong("videos --out new/report.json", "has no alias 'champion'"),
        Wrong("nowhere --out new/report.json", "no folder at nowhere"),
        Wrong("videos --picture drift.jpg", "must end in .png"),
    ],
    "drift accept": [
        Wrong("0123", NO_STORE, "no store"),
        Wrong("0123", "is not a drift check"),
    ],
    "status": [
        Wrong("", "no settings at", "no project"),
        Wrong("", "data.dvc", "no data.dvc"),
    ],
    "summary": [
        Wrong("", "evaluation.json is not valid JSON", "cut metrics"),
        Wrong("", "decision.json is not valid JSON", "cut decision"),
    ],
}  # fmt: skip

FLOWS = {
    "run": [
        Wrong("", "no settings at", "no project"),
        Wrong("", "no dvc.yaml in", "no dvc.yaml"),
        Wrong("", "no data.dvc in", "no data.dvc"),
        Wrong("--until typo", "invalid choice"),
    ],
    "data": [Wrong("", "no data.dvc in", "no project")],
    "ingest": [
        Wrong("s3://landing/in", "no settings at", "no project"),
        Wrong("landing", "is not an S3 URL"),
        Wrong("s3://landing/in --val-ratio 0.1", "go together"),
        Wrong("s3://landing/in --val-ratio 1 --test-ratio 1", "--val-ratio"),
        Wrong("s3://landing/in", "is in no git repository"),
    ],
    "monitor": [
        Wrong("videos", "no settings at", "no project"),
        Wrong("videos", NO_STORE, "no store"),
        Wrong("nowhere", "no folder at nowhere"),
    ],
    "improve": [
        Wrong("", "no settings at", "no project"),
        Wrong("", NO_STORE, "no store"),
        Wrong("--model typo", "can't be pinned to a version"),
        Wrong("--candidates 1", "two candidates"),
        Wrong("--seeds 0", "--seeds 0 must be at least 1"),
    ],
    "reproduce": [
        Wrong("1", "no settings at", "no project"),
        Wrong("champion", NO_STORE, "no store"),
        Wrong("champion", "has no alias champion"),
        Wrong("99", "no version 99"),
    ],
}  # fmt: skip
