"""Preference pairs are for evaluation only: every import refuses them by name and says what reads them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.benchmark_cases import naming, pair, write_jsonl, write_pairs, yes_no

from cac.cli import main as cli
from cac.cli.evaluate_on import BENCHMARKS as NAMES
from cac.data.exchange.import_ import ImportRequest, import_dataset
from cac.data.exchange.readers import READERS
from cac.errors import EXIT_MISTAKE, CacError
from cac.evaluation.benchmarks.formats import BENCHMARKS

PAIR = pair("a.mp4", "b.mp4", "A")
VOTE = {"left_video": "a.mp4", "right_video": "b.mp4", "vote_type": "leftvote"}
CHOICE = {"video": "a.mp4", "text": "<answer>Real</answer>", "chosen": {}, "rejected": {}}


def write(folder: Path, kind: str) -> Path:
    folder.mkdir()
    if kind == "csv":
        write_pairs(folder / "x.csv", [PAIR])
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist([VOTE]), folder / "x.parquet")
    elif kind == "jsonl":
        write_jsonl(folder / "x.jsonl", [yes_no(1, "a.mp4", "no"), naming(2, "a.mp4", {"Flicker": True})])
    else:
        (folder / "x.json").write_text(json.dumps([CHOICE if kind == "choice" else VOTE]))
    return folder


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "jsonl", "choice"])
@pytest.mark.parametrize("form", [name for name in READERS if name != "masks"])
@pytest.mark.parametrize("as_folder", [True, False])
def test_every_format_refuses_every_form_of_them(tmp_path, form, kind, as_folder):
    (tmp_path / "videos").mkdir()
    source = write(tmp_path / "source", kind)
    path = source if as_folder else next(source.iterdir())
    with pytest.raises(CacError, match=r"for evaluation only(.|\n)*`cac evaluate-on [\w-]+ FOLDER`"):
        import_dataset(ImportRequest(form, path, tmp_path / "videos", None, tmp_path / "out", 0.15, 0.2))
    assert not (tmp_path / "out").exists()


def test_a_pair_among_other_rows_is_found(tmp_path):
    (tmp_path / "videos").mkdir()
    rows = [{"video": "a.mp4", "label": "clean"}, {"video": "b.mp4", "label": "clean", **VOTE}]
    write_jsonl(tmp_path / "x.jsonl", rows)
    with pytest.raises(CacError, match=r"`left_video` and `right_video`.*evaluate-on genai-bench"):
        import_dataset(
            ImportRequest("windows", tmp_path / "x.jsonl", tmp_path / "videos", None, tmp_path / "out", 0.15, 0.2)
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_benchmark_is_no_format_of_an_import(name, capsys):
    with pytest.raises(SystemExit) as done:
        cli.main(["data", "import", name, "x", "--videos", "y", "--out", "z"])
    assert done.value.code == EXIT_MISTAKE
    assert f"`cac evaluate-on {name} FOLDER`" in capsys.readouterr().err


def test_the_command_line_knows_the_benchmarks_that_there_are():
    assert tuple(BENCHMARKS) == NAMES
