"""The report: self-contained, the same to the byte, escaped, honest about what is missing."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cac.errors import CacError
from cac.evaluation.baselines import Majority
from cac.evaluation.curves import read_history, reward_names
from cac.evaluation.groups import evaluate_groups
from cac.evaluation.intervals import evaluate_judgements, per_family
from cac.evaluation.report import ReportInputs, choose_examples, spell, write_report

pytestmark = pytest.mark.slow


def _write_history(path: Path, steps: int, **values: float) -> Path:
    entries = [{"step": step, "note": "text", **values} for step in range(1, steps + 1)]
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, make_pairs, noisy, render) -> ReportInputs:
    folder = tmp_path_factory.mktemp("histories")
    clips = make_pairs(22)
    judgements, scores = noisy(clips, 2)
    majority = Majority().fit(clips).judge(map(render, clips))
    rows = {
        "two_turn_grpo": evaluate_judgements(clips, judgements, scores, 20, 0),
        "majority": evaluate_judgements(clips, majority, [0.5] * len(clips), 20, 0),
    }
    histories = {
        "multi_frame_sft": _write_history(folder / "sft.json", 20, loss=0.5),
        "two_turn_grpo": _write_history(folder / "grpo.json", 3, **{"reward": 1.0, "rewards/format/mean": 0.2}),
        "single_frame_sft": folder / "never.json",
    }
    families = per_family(clips, judgements, scores, 20, 0)
    groups = {"test": evaluate_groups(clips, judgements, scores, 20, 0)}
    return ReportInputs(
        {"test": rows, "val": rows},
        "two_turn_grpo",
        clips,
        judgements,
        scores,
        families,
        render,
        histories,
        groups=groups,
    )


@pytest.fixture(scope="module")
def report(inputs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reports") / "new" / "report"
    write_report(inputs, out)
    return out


def test_page_links_exactly_the_images_beside_it(report) -> None:
    page = (report / "index.html").read_text(encoding="utf-8")
    linked = set(re.findall(r'(?:src|srcset)="([^"]+)"', page))
    assert linked == {f"images/{image.name}" for image in (report / "images").iterdir()}
    assert not re.search(r"https?://|/tmp|<script", page)
    for image in (report / "images").glob("*.png"):
        with Image.open(image) as opened:
            assert opened.width > 300
            assert "Software" not in opened.info


def test_same_inputs_same_bytes_and_stale_images_go(inputs, report, tmp_path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "clip-9999.png").write_bytes(b"old")
    write_report(inputs, tmp_path)
    files = sorted(p.relative_to(report) for p in report.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert all((report / name).read_bytes() == (tmp_path / name).read_bytes() for name in files)


def test_table_shows_values_intervals_and_the_best_in_bold(inputs, report) -> None:
    page = (report / "index.html").read_text(encoding="utf-8")
    cell = inputs.metrics["test"]["two_turn_grpo"]["balanced_accuracy"]
    assert f'<td class="best">{cell["value"]:.2f}<small>{cell["low"]:.2f}–{cell["high"]:.2f}</small></td>' in page
    assert '<td class="best">0.50' not in page.split("All metrics")[0]
    assert "<td>n/a</td>" in page.split("All metrics")[1]
    assert page.count("<th>majority</th>") == 4


def test_curves_are_drawn_and_a_missing_history_is_named(report) -> None:
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "single frame SFT: no training history in never.json" in page
    assert "images/loss-multi_frame_sft-light.png" in page
    assert "images/rewards-two_turn_grpo-dark.png" in page
    assert "images/loss-two_turn_grpo-light.png" not in page


def test_examples_mix_the_four_outcomes(inputs) -> None:
    chosen = choose_examples(inputs)
    assert [example.outcome for example in chosen] == [
        name for name in ("found", "missed", "false alarm", "rightly passed") for _ in range(3)
    ]
    assert len({example.clip.anomalies[0].leaf for example in chosen[:3]}) == 3
    assert len({example.clip.clip_id for example in chosen}) == 12


def test_a_model_without_misses_gives_its_places_away(inputs, perfect) -> None:
    judgements = [perfect(clip) for clip in inputs.clips]
    chosen = choose_examples(replace(inputs, judgements=judgements))
    assert [example.outcome for example in chosen] == ["found"] * 6 + ["rightly passed"] * 6
    assert len(choose_examples(replace(inputs, shown=500))) == len(inputs.clips)


def test_what_the_model_wrote_is_escaped(inputs, tmp_path) -> None:
    hostile = [replace(judgement, look_text="<script>alert(1)</script>") for judgement in inputs.judgements]
    write_report(replace(inputs, judgements=hostile, histories={}, shown=2), tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "No training history was given" in page


def test_bad_input_is_refused(inputs, tmp_path) -> None:
    with pytest.raises(CacError, match="no test metrics of 'gpt'; there are: two_turn_grpo, majority"):
        write_report(replace(inputs, final="gpt"), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CacError, match="cannot write the report"):
        write_report(inputs, tmp_path / "file")
    broken = tmp_path / "broken.json"
    broken.write_text('[{"step": 1, "loss": 2}, {"step":', encoding="utf-8")
    with pytest.raises(CacError, match=r"broken\.json: not valid JSON"):
        read_history(broken)
    broken.write_text('[{"loss": 2}]', encoding="utf-8")
    with pytest.raises(CacError, match="not a list of objects with a step"):
        read_history(broken)


def test_history_keeps_numbers_and_rewards_without_spread(tmp_path) -> None:
    rewards = {"reward": 1, "reward_std": 0.1, "rewards/format/mean": 0.2, "rewards/format/std": 0.1}
    history = read_history(_write_history(tmp_path / "h.json", 2, **rewards))
    assert history[1] == {"step": 2.0, **rewards}
    assert reward_names(history) == ["reward", "rewards/format/mean"]


def test_spelling() -> None:
    assert spell("mean_temporal_iou") == "mean temporal IoU"
    assert spell("two_turn_grpo") == "two turn GRPO"
