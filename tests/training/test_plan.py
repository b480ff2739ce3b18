"""What `cac plan` counts agrees with what training and judging really show."""

import json
from pathlib import Path

import pytest

from cac.cli import main as cli
from cac.model.loading import load_base
from cac.params import Params
from cac.schema.annotations import read_clips, write_clips
from cac.schema.dialogue import CONCENTRATE_TOOL
from cac.training.plan import make_plan
from cac.training.samples import SampleSpec, build_dialogue
from cac.video.clip_store import ClipStore
from cac.video.segments import clip_segments


@pytest.fixture
def params(project_params: Params, fresh_base: Path) -> Params:
    return project_params.model_copy(
        update={"model": project_params.model.model_copy(update={"base": str(fresh_base)})}
    )


def test_no_dialogue_of_the_dataset_is_longer_than_planned(params: Params, small_dataset: Path) -> None:
    plan, clips = make_plan(params, small_dataset), read_clips(small_dataset)
    assert (plan.clips, plan.others) == (len(clips), 0)
    assert sum(one.clips for one in plan.shapes) == plan.segments == len(clips)
    _, processor = load_base(params.model)
    store = ClipStore(small_dataset)
    lengths = [
        len(
            processor.apply_chat_template(
                [build_dialogue(SampleSpec(0), [clip], store, params.frames).messages],
                tools=[CONCENTRATE_TOOL],
                tokenize=True,
                return_dict=True,
            )["input_ids"][0]
        )
        for clip in clips[:12]
    ]
    longest = max(one.dialogue_tokens for one in plan.shapes)
    assert 0.8 * longest < max(lengths) <= longest
    assert {(one.coarse, one.dense) for one in plan.shapes} == {(8, 6)}


def test_with_a_rate_it_counts_the_segments_that_training_has(params: Params, small_dataset: Path) -> None:
    changes = {"coarse_count": 4, "coarse_rate": 4.0, "overlap": 0.0}
    rated = params.model_copy(update={"frames": params.frames.model_copy(update=changes)})
    plan = make_plan(rated, small_dataset)
    clips = read_clips(small_dataset)
    real = sum(len(clip_segments(clip, rated.frames)) for clip in clips)
    assert real <= plan.segments <= real + len(clips), "lengths are rounded up to seconds"
    assert all(one.seen[0.5] == 1.0 for one in plan.shapes)


def test_the_command_prints_a_table_and_json(
    params: Params, small_dataset: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    clips = read_clips(small_dataset)
    long = [clip.model_copy(update={"clip_id": f"long{i}", "frame_count": 2400}) for i, clip in enumerate(clips[:2])]
    (tmp_path / "data").mkdir()
    write_clips(tmp_path / "data", [*clips, *long])
    root = Path(__file__).parents[2]
    (tmp_path / "params.yaml").write_bytes((root / "params.yaml").read_bytes())
    assert cli.main(["plan"]) == 0
    assert f"{len(clips) + 2} clips" in capsys.readouterr().out
    assert cli.main(["plan", "--json"]) == 0
    shapes = json.loads(capsys.readouterr().out)["shapes"]
    (long_shape,) = [one for one in shapes if one["shape"]["seconds"] == 300]
    assert long_shape["seen"]["0.5"] < 0.02, "eight frames of five minutes"
    assert cli.main(["plan", "--data", "nowhere"]) == 2
