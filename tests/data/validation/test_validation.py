"""Validation of small real datasets: a good one, and one with a pair of clips for each kind of defect."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.validation_cases import BOUNDS, GOOD, ClipDict, Spoil, failures, hash_of, make_pair, result, write

from cac.data.validation.validate import validate
from cac.errors import CacError
from cac.schema.annotations import MANIFEST_NAME
from cac.schema.taxonomy import Family

pytestmark = pytest.mark.slow


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def damage(content: Callable[[bytes], bytes]) -> Spoil:
    """Return a defect of the anomalous clip's file, with the hash annotated as it then is."""

    def spoil(dataset: Path, pair: list[ClipDict]) -> None:
        path = dataset / pair[1]["path"]
        path.write_bytes(content(path.read_bytes()))
        pair[1]["sha256"] = hash_of(path)

    return spoil


def annotate(**values: object) -> Spoil:
    """Return a defect that sets fields of the anomalous clip."""
    return lambda _, pair: pair[1].update(values)


def annotate_anomaly(**values: object) -> Spoil:
    return lambda _, pair: pair[1]["anomalies"][0].update(values)


def set_box(*box: float) -> Spoil:
    return lambda _, pair: pair[1]["anomalies"][0]["boxes"][1].update(box=box)


def add_box(frame: int) -> Spoil:
    return lambda _, pair: pair[1]["anomalies"][0]["boxes"].append({"frame": frame, "box": [0.1, 0.1, 0.2, 0.2]})


def copy_content(dataset: Path, pair: list[ClipDict], split: str = "train") -> None:
    """Give the anomalous clip the clean one's file."""
    shutil.copy(dataset / pair[0]["path"], dataset / pair[1]["path"])
    pair[1].update(sha256=pair[0]["sha256"], split=split)


# Kind of defect → how it is made in a good pair of the train split, the checks that must fail for the anomalous clip,
# and those for its clean twin.
DEFECTS: dict[str, tuple[Spoil, set[str], set[str]]] = {
    "no defect": (lambda _, pair: None, set(), set()),
    "truncated mp4": (damage(lambda content: content[:200]), {"decodable"}, set()),
    "text as mp4": (damage(lambda _: b"not a video"), {"decodable"}, set()),
    "missing file": (lambda dataset, pair: (dataset / pair[1]["path"]).unlink(), {"file"}, set()),
    "path of a folder": (annotate(path="clips"), {"file"}, set()),
    "path with html": (annotate(path="clips/<script>alert(1)</script>.mp4"), {"file"}, set()),
    "path outside": (annotate(path="clips/../../elsewhere.mp4"), {"path"}, set()),
    "absolute path": (annotate(path="/etc/hostname"), {"path"}, set()),
    "wrong hash": (annotate(sha256="0" * 64), {"sha256"}, set()),
    "wrong fps": (annotate(fps=7.5), {"fps"}, set()),
    "wrong frame count": (annotate(frame_count=9), {"frame_count"}, set()),
    "wrong size": (annotate(width=64), {"size"}, set()),
    "window past the end": (annotate_anomaly(window=[0.25, 1.1]), {"windows"}, set()),
    "window before the start": (annotate_anomaly(window=[-0.1, 0.625]), {"windows"}, set()),
    "window back to front": (annotate_anomaly(window=[0.625, 0.25]), {"windows"}, set()),
    "window between frames": (annotate_anomaly(window=[0.26, 0.3], boxes=[]), {"windows"}, set()),
    "box outside the frame": (set_box(0.1, 0.2, 1.2, 0.5), {"boxes_in_frame"}, set()),
    "box above the frame": (set_box(0.1, -0.2, 0.4, 0.5), {"boxes_in_frame"}, set()),
    "box back to front": (set_box(0.5, 0.2, 0.1, 0.5), {"boxes_in_frame"}, set()),
    "box upside down": (set_box(0.1, 0.5, 0.5, 0.2), {"boxes_in_frame"}, set()),
    "no number in a box": (set_box(0.1, 0.2, float("nan"), 0.5), {"manifest_line"}, set()),
    "frame without a box": (lambda _, pair: pair[1]["anomalies"][0]["boxes"].pop(), {"boxes_complete"}, set()),
    "box before the window": (add_box(1), {"boxes_in_window"}, set()),
    "box after the window": (add_box(5), {"boxes_in_window"}, set()),
    "unknown leaf": (annotate_anomaly(leaf="extra_moon"), {"manifest_line"}, set()),
    "leaf of another family": (annotate_anomaly(leaf="teleport"), {"manifest_line"}, set()),
    "unknown key": (annotate(colour="red"), {"manifest_line"}, set()),
    "unknown key in the twin": (lambda _, pair: pair[0].update(colour="red"), set(), {"manifest_line"}),
    "missing twin": (lambda _, pair: pair.pop(0), {"pair"}, set()),
    "twin without a defect": (annotate(anomalies=[]), {"pair"}, {"pair"}),
    "pair in two splits": (annotate(split="test"), {"pair_leak"}, {"pair_leak"}),
    "same file twice": (copy_content, {"file_duplicate"}, {"file_duplicate"}),
    "same file in two splits": (
        lambda dataset, pair: copy_content(dataset, pair, "test"),
        {"file_leak", "pair_leak", "file_duplicate"},
        {"file_leak", "pair_leak", "file_duplicate"},
    ),
    "same path twice": (
        lambda _, pair: pair[1].update(path=pair[0]["path"], sha256=pair[0]["sha256"]),
        {"unique_path", "file_duplicate"},
        {"unique_path", "file_duplicate"},
    ),
}


@pytest.fixture(scope="session")
def good_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset = tmp_path_factory.mktemp("good")
    write(dataset, [clip for name, (split, leaf) in GOOD.items() for clip in make_pair(dataset, name, split, leaf)])
    return dataset


@pytest.fixture
def dataset(good_dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good_dataset, tmp_path / "data"))


@pytest.fixture(scope="session")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A dataset with one pair for each kind of defect, its findings, and the error's message."""
    folder = tmp_path_factory.mktemp("spoiled")
    dataset, out, clips = folder / "data", folder / "out", []
    for name, (spoil, _, _) in DEFECTS.items():
        pair = make_pair(dataset, name, "train", "vanishing")
        spoil(dataset, pair)
        clips += pair
    write(dataset, clips)
    with pytest.raises(CacError) as raised:
        validate(dataset, BOUNDS, out)
    return dataset, out, str(raised.value)


def test_good_dataset_passes_and_is_summarised(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "failures.jsonl").write_text("an earlier run's", encoding="utf-8")
    validate(dataset, BOUNDS, out)
    assert all(check["passed"] for check in result(out)["checks"])
    assert not (out / "failures.jsonl").exists()
    summary = result(out)["dataset"]
    leaves = summary.pop("leaves")
    assert {leaf: count for leaf, count in leaves.items() if count} == {leaf: 1 for _, leaf in GOOD.values()}
    assert summary == {
        "clips": 8,
        "invalid_lines": 0,
        "splits": {
            "train": {"clips": 4, "clean": 2, "anomalous": 2},
            "val": {"clips": 2, "clean": 1, "anomalous": 1},
            "test": {"clips": 2, "clean": 1, "anomalous": 1},
            "test_shifted": {"clips": 0, "clean": 0, "anomalous": 0},
            "test_hard": {"clips": 0, "clean": 0, "anomalous": 0},
        },
        "families": {family.value: 1 for family in Family},
        "durations": {"shortest": 1.0, "mean": 1.0, "longest": 1.0, "total": 8.0},
    }


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_found_and_nothing_else(defect: str, spoiled: tuple[Path, Path, str]) -> None:
    _, expected, expected_of_twin = DEFECTS[defect]
    found: dict[str, set[str]] = {"bad": set(), "ok": set()}
    for failure in failures(spoiled[1]):
        name, _, kind = (failure["clip_id"] or "").rpartition("-")
        if name == defect:
            found[kind].add(failure["check"])
    assert found == {"bad": expected, "ok": expected_of_twin}


def test_counts_and_message_agree_with_the_findings(spoiled: tuple[Path, Path, str]) -> None:
    _, out, message = spoiled
    lines = [failure for failure in failures(out) if failure["line"]]
    for check in result(out)["checks"]:
        assert check["unexpected_count"] == sum(failure["check"] == check["check"] for failure in lines)
    blocked = list(dict.fromkeys(f["clip_id"] for f in lines if f["suite"] == "blocking"))
    assert f"{len(blocked)} clips at fault: {', '.join(blocked[:5])} and {len(blocked) - 5} more." in message
    assert "decodable (2), sha256 (1)" in message
    assert str(out / "failures.jsonl") in message


@pytest.mark.parametrize(
    ("clip_id", "found", "expected"),
    [
        ("box outside the frame-bad", "frame 3: (0.1, 0.2, 1.2, 0.5)", "0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1"),
        ("wrong frame count-bad", "annotated 9, file 8", "the file's number of frames"),
        ("frame without a box-bad", "vanishing: frame 4", "a box in every frame of the window, or in none"),
        (
            "missing twin-bad",
            "pair 'missing twin': 0 clean and 1 anomalous",
            "one clean and one anomalous clip in each pair",
        ),
        ("path outside-bad", "clips/../../elsewhere.mp4", "a path that stays inside the dataset folder"),
    ],
)
def test_finding_says_what_was_found_and_expected(
    clip_id: str, found: str, expected: str, spoiled: tuple[Path, Path, str]
) -> None:
    [failure] = [failure for failure in failures(spoiled[1]) if failure["clip_id"] == clip_id]
    assert (failure["found"], failure["expected"]) == (found, expected)
    assert failure["suite"] == ("warning" if failure["check"] == "pair" else "blocking")


def test_a_clip_without_its_twin_is_only_warned_of(dataset: Path, tmp_path: Path) -> None:
    pairs = [make_pair(dataset, name, split, leaf) for name, (split, leaf) in GOOD.items()]
    write(dataset, [clip for pair in (*pairs, make_pair(dataset, "alone", "train", "teleport")[1:]) for clip in pair])
    validate(dataset, BOUNDS, tmp_path / "out")
    [failure] = [failure for failure in failures(tmp_path / "out") if failure["clip_id"]]
    assert (failure["clip_id"], failure["check"], failure["suite"]) == ("alone-bad", "pair", "warning")


def test_invalid_line_names_line_and_field(spoiled: tuple[Path, Path, str]) -> None:
    [failure] = [failure for failure in failures(spoiled[1]) if failure["clip_id"] == "unknown leaf-bad"]
    assert failure["found"].startswith(f"line {failure['line']}: anomalies.0")
    assert "unknown leaf 'extra_moon'" in failure["found"]


def test_broken_lines_are_findings_and_the_rest_is_still_checked(dataset: Path, tmp_path: Path) -> None:
    manifest, out = dataset / MANIFEST_NAME, tmp_path / "out"
    broken = [b'{"clip_id": "cut off', b"", b"\xff\xfe", b"[1, 2]", b"[" * 100_000]
    manifest.write_bytes(b"\n".join(broken) + b"\n" + manifest.read_bytes())
    (dataset / "clips" / "p1-bad.mp4").unlink()
    with pytest.raises(CacError, match="line 1, line 2, line 3, line 4, line 5 and 1 more"):
        validate(dataset, BOUNDS, out)
    assert [(f["line"], f["clip_id"], f["check"]) for f in failures(out)] == [
        *((line, None, "manifest_line") for line in range(1, 6)),
        (9, "p1-bad", "file"),
    ]
    assert (result(out)["dataset"]["clips"], result(out)["dataset"]["invalid_lines"]) == (8, 5)


def test_manifest_without_one_valid_line_is_reported(dataset: Path, tmp_path: Path) -> None:
    (dataset / MANIFEST_NAME).write_text("{}\n{}\n", encoding="utf-8")
    with pytest.raises(CacError, match=r"manifest_line \(2\), clips_in_train \(found 0\)"):
        validate(dataset, BOUNDS, tmp_path / "out")
    assert result(tmp_path / "out")["dataset"]["durations"] is None


def test_clip_that_is_too_long_blocks(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(CacError, match=r"duration \(8\)"):
        validate(dataset, BOUNDS.model_copy(update={"max_duration": 0.9}), tmp_path / "out")
    assert {(f["found"], f["expected"]) for f in failures(tmp_path / "out")} == {(1.0, "at most 0.9 s")}


def test_clip_id_used_twice_and_too_small_splits_block(dataset: Path, tmp_path: Path) -> None:
    manifest, out = dataset / MANIFEST_NAME, tmp_path / "out"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"p0-bad"', '"p0-ok"'), encoding="utf-8")
    with pytest.raises(CacError, match=r"clip_id \(2\), clips_in_val \(found 2\), clips_in_test \(found 2\)"):
        validate(dataset, BOUNDS.model_copy(update={"min_clips_per_split": 3}), out)
    assert [(f["check"], f["clip_id"], f["line"], f["found"]) for f in failures(out)] == [
        ("clip_id", "p0-ok", 1, "p0-ok"),
        ("clip_id", "p0-ok", 2, "p0-ok"),
        ("clips_in_val", None, None, 2.0),
        ("clips_in_test", None, None, 2.0),
    ]


@pytest.mark.parametrize("bounds", [{"min_clean_ratio": 0.55}, {"max_clean_ratio": 0.45, "min_clips_per_family": 2}])
def test_imbalance_warns_and_does_not_block(bounds: dict[str, float], dataset: Path, tmp_path: Path) -> None:
    validate(dataset, BOUNDS.model_copy(update=bounds), tmp_path / "out")
    expected = {(f"clean_share_in_{split}", 0.5) for split in ("train", "val", "test")}
    if "min_clips_per_family" in bounds:
        expected |= {(f"clips_of_{family}", 1.0) for family in Family}
    assert {(f["check"], f["found"]) for f in failures(tmp_path / "out")} == expected
    assert {f["suite"] for f in failures(tmp_path / "out")} == {"warning"}


def test_outputs_are_the_same_to_the_byte_in_another_process(spoiled: tuple[Path, Path, str], tmp_path: Path) -> None:
    """Every kind of finding, from another folder, at another time, with another order of sets."""
    dataset, here, _ = spoiled
    elsewhere, there = Path(shutil.copytree(dataset, tmp_path / "copy")), tmp_path / "out"
    code = (
        "import sys; from pathlib import Path;"
        "from cac.params import Validation; from cac.data.validation.validate import validate;"
        "dataset, bounds, out = sys.argv[1:];"
        "validate(Path(dataset), Validation.model_validate_json(bounds), Path(out))"
    )
    command = [sys.executable, "-c", code, str(elsewhere), BOUNDS.model_dump_json(), str(there)]
    run = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "123"}, capture_output=True, text=True)
    assert "CacError: the dataset failed" in run.stderr
    assert tree(here) == tree(there)
    assert {"result.json", "failures.jsonl", "data_docs/index.html"} <= tree(here).keys()


def test_data_docs_show_every_check_and_escape_the_data(spoiled: tuple[Path, Path, str]) -> None:
    out = spoiled[1]
    pages = {path.parts[-4]: path.read_text() for path in (out / "data_docs" / "validations").rglob("*.html")}
    assert pages.keys() == {"blocking", "warning"}
    assert all(f"{check['check']}: " in pages[check["suite"]] for check in result(out)["checks"])
    assert "&lt;script&gt;alert(1)" in pages["blocking"]
    assert "<script>alert(1)" not in pages["blocking"]


def test_output_that_cannot_be_written_is_an_error(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(CacError, match="cannot write to"):
        validate(dataset, BOUNDS, tmp_path / "file" / "out")
