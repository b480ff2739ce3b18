import json
from pathlib import Path

import pytest
from scipy import stats

from cac.ablation.table import METRICS, difference, estimate, mean_metric, read_results, write_table
from cac.ablation.variants import VARIANTS
from cac.errors import CacError

FULL_REWARDS = {7: 2.0, 8: 2.2, 9: 2.1}


def write(folder: Path, variant: str, rewards: dict[int, float]) -> None:
    folder.mkdir(exist_ok=True)
    for seed, reward in rewards.items():
        values = dict.fromkeys(METRICS, 0.5) | {"reward": reward, "auroc": None}
        (folder / f"{variant}-{seed}.json").write_text(json.dumps({"variant": variant, "seed": seed, "val": values}))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write(tmp_path / "results", "full", FULL_REWARDS)
    write(tmp_path / "results", "without_stage_3", {7: 1.5, 8: 1.9, 9: 1.4})
    write(tmp_path / "results", "without_stage_1", {7: 1.0})
    return tmp_path / "results"


def test_intervals_are_students_over_seeds() -> None:
    values = [2.0, 2.2, 2.1]
    low, high = stats.t.interval(0.95, 2, loc=2.1, scale=stats.sem(values))
    found = estimate(values)
    assert found.mean == pytest.approx(2.1)
    assert found.half_width == pytest.approx((high - low) / 2)
    assert str(estimate([2.0])) == "2.000"


def test_differences_are_taken_seed_by_seed(results: Path) -> None:
    read = read_results(results)
    found, expected = difference(read, "without_stage_3", "reward"), estimate([-0.5, -0.3, -0.7])
    assert found is not None
    assert (found.mean, found.half_width) == pytest.approx((expected.mean, expected.half_width))
    assert difference(read, "without_stage_1", "reward") == estimate([-1.0])
    assert difference(read, "full", "reward") is None
    assert mean_metric(read, "full", "auroc") is None


def test_the_table_and_the_picture_are_written(results: Path, tmp_path: Path) -> None:
    write_table(results, tmp_path / "out")
    text = (tmp_path / "out/table.md").read_text()
    assert "| all three stages | 3 |" in text
    assert str(estimate([-0.5, -0.3, -0.7])) in text
    assert (tmp_path / "out/table.png").read_bytes().startswith(b"\x89PNG")


def test_results_with_a_ceiling_are_shown_relative_to_it_and_earlier_ones_are_not(
    results: Path, tmp_path: Path
) -> None:
    write_table(results, tmp_path / "earlier")
    assert "ceiling" not in (tmp_path / "earlier/table.md").read_text()
    for seed, share in ((7, 0.7), (8, 0.8)):
        file = results / f"without_stage_3-{seed}.json"
        values = json.loads(file.read_text()) | {"relative_to_ceiling": {"temporal_iou": share, "spatial_iou": 0.9}}
        file.write_text(json.dumps(values))
    write_table(results, tmp_path / "out")
    text = (tmp_path / "out/table.md").read_text()
    head, full, relative = (
        next(line for line in text.splitlines() if start in line)
        for start in ("| variant | seeds", "| all three", "| without two")
    )
    assert head.endswith("| temporal iou / ceiling | spatial iou / ceiling |")
    assert full.endswith("| – | – |")
    assert relative.endswith(f"| {estimate([0.7, 0.8])} | {estimate([0.9, 0.9])} |")


def test_what_a_variant_does_not_answer_is_a_dash(results: Path, tmp_path: Path) -> None:
    write(results, "frame_judge", {7: 1.2})
    write(results, "yes_no", {7: 1.0})
    file = results / "yes_no-7.json"
    result = json.loads(file.read_text())
    unanswered = dict.fromkeys(("temporal_iou", "spatial_iou", "family_accuracy", "reward"))
    result["val"] |= {"auroc": 0.75, **unanswered}
    file.write_text(json.dumps(result | {"relative_to_ceiling": {"temporal_iou": None, "spatial_iou": None}}))
    write_table(results, tmp_path / "out")
    rows = [line for line in (tmp_path / "out/table.md").read_text().splitlines() if line.startswith("| ")]
    (asked, asked_difference), (framed, framed_difference) = (
        [row for row in rows if row.startswith(f"| {VARIANTS[name].title} |")] for name in ("yes_no", "frame_judge")
    )
    assert asked == f"| {VARIANTS['yes_no'].title} | 1 | 0.500 | 0.750 | 0.500 | – | – | – | – | – | – |"
    assert asked_difference.endswith("| 0.000 | – | 0.000 | – | – | – | – | – | – |")
    assert (
        framed == f"| {VARIANTS['frame_judge'].title} | 1 | 0.500 | – | 0.500 | 0.500 | 0.500 | 0.500 | 1.200 | – | – |"
    )
    assert VARIANTS["without_stage_3"].title in framed_difference


def test_no_result_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CacError, match="make ablate"):
        write_table(tmp_path, tmp_path)
