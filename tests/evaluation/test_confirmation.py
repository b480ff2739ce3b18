"""The benchmark that confirms the README's claims says what it computes, and nothing that it does not know."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from helpers.adapters import save_changed_adapter

from benchmarks import confirmation, other_clips
from cac.evaluation.ceiling import perfect_judgements
from cac.model.loading import base_identity, load_base
from cac.params import Params, load_params
from cac.schema.annotations import read_clips
from cac.schema.judgement import Judgement

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, fresh_base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an untrained base, calibrations and two adapters, and few clips to confirm on."""
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    settings["model"]["base"] = str(fresh_base)
    settings["adapter"]["r"] = 2
    settings["evaluation"] |= {"max_turn_tokens": 8, "bootstrap_samples": 20}
    settings["procedural_data"] |= {"min_frames": 16, "max_frames": 18}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    stages = (confirmation.BASE, "single_frame_sft", "multi_frame_sft", "two_turn_grpo")
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation/calibration.json").write_text(
        json.dumps({stage: {"temperature": 1.0, "bias": 0.0} for stage in stages})
    )
    params = load_params(tmp_path / "params.yaml")
    for number, name in enumerate(("two", "three", "four"), 1):
        base, _ = load_base(params.model)
        save_changed_adapter(base, params.adapter, tmp_path / name, base_identity(params.model), number * 1e-3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(confirmation, "PAIRS", {"pairs": 2, "shifted_pairs": 2, "hard_test_pairs": 24})
    return tmp_path


def test_every_part_has_every_row(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def perfect(dataset: Path, adapter: Path | None, params: Params) -> list[Judgement]:
        return perfect_judgements(read_clips(dataset), params.frames)

    monkeypatch.setattr(confirmation, "judge", perfect)
    assert confirmation.main(["--base", "--stage-2", "two", "--stage-3", "three", "four"]) == 0
    parts = capsys.readouterr().out.split("\n## ")[1:]
    assert [part.partition(":")[0] for part in parts] == list(confirmation.PARTS)
    expected = ["base", "two", "three", "four", "perfect_answers"]
    expected += [f"{name} / perfect answers" for name in ("two", "three", "four")]
    expected += ["three minus stage 2", "four minus stage 2", "mean of 2 seeds minus stage 2"]
    for part in parts:
        rows = [line.split(" | ")[0].strip("| ") for line in part.splitlines() if line.startswith("| ")]
        assert rows[2:] == expected


def test_the_base_and_an_adapter_judge_clips_of_their_own(project: Path) -> None:
    params = load_params(project / "params.yaml")
    dataset = other_clips.render(params, "judged", 1, {"pairs": 1})
    clips = read_clips(dataset)
    for adapter in (None, Path("two")):
        judged = other_clips.judge(dataset, adapter, params)
        assert [one.frames_seen > 0 for one in judged] == [True] * len(clips)
        assert other_clips.judge(dataset, adapter, params) == judged
    assert len(list(dataset.parent.glob("*.json"))) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage-2", "two", "--stage-3", "nowhere"], "no adapter at nowhere"),
        (["--stage-2", "two", "--stage-3", "three", "three"], "an adapter is given twice"),
        (["--stage-2", "two", "--stage-3", "./two"], "an adapter is given twice"),
    ],
)
def test_a_wrong_list_of_adapters_is_refused_before_anything_is_rendered(
    project: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert confirmation.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (project / ".scratch").exists()


def test_a_metric_that_one_seed_does_not_define_has_no_mean() -> None:
    known = {"value": 0.1, "low": 0.0, "high": 0.2}
    undefined = {"value": None, "low": None, "high": None}
    assert confirmation.mean_over_seeds([known, known]).startswith("0.100")
    assert confirmation.mean_over_seeds([known, undefined]) == "–"


def test_brief_and_small_anomalies_are_parts_of_their_own(project: Path) -> None:
    dataset = other_clips.render(load_params(project / "params.yaml"), "parts", 1, {"pairs": 1, "hard_test_pairs": 24})
    parts = {confirmation.part_of(clip) for clip in read_clips(dataset)}
    assert parts == {"standard", "brief", "small"}


def test_clips_are_rendered_again_when_the_code_that_draws_them_changes(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = load_params(project / "params.yaml")
    first = other_clips.render(params, "code", 1, {"pairs": 1})
    assert other_clips.render(params, "code", 1, {"pairs": 1}) == first
    changed = project / "scenes.py"
    changed.write_text("# another renderer")
    monkeypatch.setattr(other_clips, "_scene_code", lambda: [changed])
    assert other_clips.render(params, "code", 1, {"pairs": 1}) != first
