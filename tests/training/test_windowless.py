"""Clips of which it is known what is wrong and not when: nothing invents a window, and nothing takes them for clean."""

from pathlib import Path

import pytest
from helpers.windowless import without_windows
from pydantic import ValidationError

from cac.data.validation.clip_facts import iter_facts
from cac.data.versions.diff import diff_clips
from cac.data.versions.stats import gather_stats
from cac.evaluation.ceiling import perfect_judgements
from cac.evaluation.facts import clip_facts
from cac.evaluation.metrics import point_values
from cac.params import Params
from cac.schema.annotations import Anomaly, Clip, parse_clip, read_clips, write_clips
from cac.training import single_frame_sft
from cac.training.grpo.rollouts import rollout_clips
from cac.training.rewards import reward_functions, total_reward
from cac.training.samples import _clear_frames, _visible_frames, draw_specs
from cac.training.train_partition import sft_clips
from cac.video.sheets import _describe


@pytest.fixture(scope="module")
def clips(small_dataset: Path) -> list[Clip]:
    return read_clips(small_dataset)


@pytest.fixture(scope="module")
def known(clips: list[Clip]) -> Clip:
    return next(clip for clip in clips if not clip.is_clean)


@pytest.fixture(scope="module")
def unknown(known: Clip) -> Clip:
    return without_windows(known)


def test_the_manifest_has_them(unknown: Clip, known: Clip) -> None:
    again = parse_clip(unknown.model_dump_json(), "line 1")
    assert again == unknown
    assert not again.is_clean
    assert not again.has_all_windows
    assert again.windows == []
    assert known.has_all_windows


def test_boxes_without_a_window_are_refused(known: Clip) -> None:
    values = known.anomalies[0].model_dump() | {"window": None}
    with pytest.raises(ValidationError, match="needs a window"):
        Anomaly.model_validate(values)


def test_validation_finds_nothing_wrong_with_them(clips: list[Clip], small_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").symlink_to(small_dataset / "clips")
    write_clips(tmp_path, [without_windows(clip) for clip in clips])
    assert not [facts.problems for facts in iter_facts(tmp_path, max_side=4096) if facts.problems]


def test_time_is_neither_rewarded_nor_measured(clips: list[Clip], known: Clip, unknown: Clip, project_params) -> None:
    (right,) = perfect_judgements([known], project_params.frames)
    settings = project_params.two_turn_grpo
    rewards = {name: function(right, unknown) for name, function in reward_functions(settings).items()}
    assert {name for name, value in rewards.items() if value is None} == {"scan", "temporal_iou", "spatial_iou"}
    assert rewards["accuracy"] == rewards["attribution"] == 1
    assert 0 < total_reward(right, unknown, settings) < total_reward(right, known, settings)
    clean = next(clip for clip in clips if clip.is_clean)
    pair = [unknown, clean]
    values = point_values(clip_facts(pair, perfect_judgements(pair, project_params.frames), [0.1, 0.9]))
    assert values["temporal_iou"] is None
    assert values["balanced_accuracy"] == values["leaf_accuracy"] == 1


def test_a_window_that_is_known_of_one_anomaly_only_is_not_held_against_the_other(known: Clip, project_params) -> None:
    """A judgement that finds the second one as well would else lose temporal IoU for being right."""
    (first,) = known.anomalies[:1]
    other = first.model_copy(update={"window": None, "boxes": ()})
    clip = known.model_copy(update={"anomalies": (first, other)})
    (right,) = perfect_judgements([known], project_params.frames)
    assert reward_functions(project_params.two_turn_grpo)["temporal_iou"](right, clip) is None
    assert clip.windows == [first.window]


def test_supervision_skips_them_and_says_how_many(
    clips: list[Clip],
    small_dataset: Path,
    project_params: Params,
    fresh_base: Path,
    tmp_path: Path,
    monkeypatch,
    capsys,
) -> None:
    """With and without them the same adapter is trained."""
    short = {"max_steps": 1, "batch_size": 4, "gradient_accumulation_steps": 1}
    params = project_params.model_copy(
        update={
            "compute": project_params.compute.model_copy(update={"threads": 1}),
            "model": project_params.model.model_copy(update={"base": str(fresh_base)}),
            "single_frame_sft": project_params.single_frame_sft.model_copy(update=short),
        }
    )
    train = sft_clips([clip for clip in clips if clip.split == "train"], params.train_partition)
    spoiled = {next(clip.clip_id for clip in train if not clip.is_clean)}
    adapters = []
    for name in ("with", "without"):
        root = tmp_path / name
        (root / "data").mkdir(parents=True)
        (root / "data" / "clips").symlink_to(small_dataset / "clips")
        some = [without_windows(clip) if clip.clip_id in spoiled else clip for clip in clips]
        kept = some if name == "with" else [clip for clip in some if clip.clip_id not in spoiled]
        write_clips(root / "data", kept)
        monkeypatch.chdir(root)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
        single_frame_sft.train(params, root)
        adapters.append((root / "models" / "single_frame_sft" / "adapter_model.safetensors").read_bytes())
        assert ("skips 1 clips with an anomaly without a window" in capsys.readouterr().out) == (name == "with")
    assert adapters[0] == adapters[1]


def test_rollouts_are_of_the_others(clips: list[Clip], project_params: Params, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_clips(tmp_path / "data", [without_windows(clip) for clip in clips])
    partition = project_params.train_partition.model_copy(update={"reinforcement_ratio": 0.0})
    params = project_params.model_copy(update={"train_partition": partition})
    assert {clip.is_clean for clip in rollout_clips(params, tmp_path)} == {True}


def test_no_frame_of_theirs_is_shown_as_anomalous_or_as_clear(unknown: Clip) -> None:
    assert _visible_frames(unknown) == _clear_frames(unknown) == []


def test_a_yes_no_question_about_them_can_be_drawn_with_any_scan(clips: list[Clip], project_params: Params) -> None:
    """Only its verdict is taught; a wrong scan has no window of theirs to displace."""
    bare = [without_windows(clip) for clip in clips]
    settings = project_params.multi_frame_sft.model_copy(update={"wrong_scan_ratio": 1.0, "single_frame_ratio": 0.0})
    specs = draw_specs(bare, settings, seed=3)
    assert {spec.wrong_windows for spec in specs if not bare[spec.clip].is_clean} == {()}


def test_what_people_read_names_them(known: Clip, unknown: Clip) -> None:
    assert "at an unknown time" in _describe(unknown)
    stats = gather_stats([known, unknown])
    assert len(stats.window_seconds) == len(stats.window_shares) == len(known.anomalies)
    assert set(diff_clips(known, unknown)) == {"windows", "boxes"}
