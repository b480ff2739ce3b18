"""The dialogue GRPO makes is, token by token, the one the supervised stages learn."""

from pathlib import Path

import pytest
from transformers.utils import get_json_schema

from cac.model.nano import build_processor
from cac.params import Params
from cac.schema.annotations import read_clips
from cac.schema.dialogue import CONCENTRATE_TOOL, tool_reply
from cac.training.collator import collate, training_template
from cac.training.grpo.environment import ConcentrateEnvironment, judge_rollouts
from cac.training.samples import SampleSpec, build_dialogue
from cac.video.clip_store import ClipStore


@pytest.fixture
def clips(small_dataset: Path):
    return read_clips(small_dataset, "train")


@pytest.fixture
def environment(clips, small_dataset: Path, project_params: Params) -> ConcentrateEnvironment:
    return ConcentrateEnvironment(clips, ClipStore(small_dataset), project_params.frames)


def test_the_tool_is_described_as_in_supervised_training(environment: ConcentrateEnvironment) -> None:
    assert get_json_schema(environment.concentrate) == CONCENTRATE_TOOL


def test_a_rollout_renders_to_the_same_tokens(environment, clips, small_dataset: Path, project_params: Params) -> None:
    processor = build_processor()
    index = next(i for i, clip in enumerate(clips) if not clip.is_clean)
    truth = build_dialogue(SampleSpec(index), clips, ClipStore(small_dataset), project_params.frames)
    supervised = collate(processor, training_template(processor), [truth])["input_ids"][0].tolist()
    prompt = [{"role": "user", "content": [{"type": "text", "text": ""}, *environment.reset(clip=index)]}]
    call = truth.messages[1]["tool_calls"][0]["function"]["arguments"]
    tool = tool_reply(environment.concentrate(**call))
    rollout = processor.apply_chat_template(
        [[*prompt, truth.messages[1], tool, truth.messages[3]]],
        tools=[get_json_schema(environment.concentrate)],
        tokenize=True,
        return_dict=True,
    )["input_ids"][0]
    assert rollout == supervised


def test_a_finished_rollout_is_judged(environment, clips, small_dataset: Path, project_params: Params) -> None:
    index = next(i for i, clip in enumerate(clips) if not clip.is_clean)
    truth = build_dialogue(SampleSpec(index), clips, ClipStore(small_dataset), project_params.frames)
    environment.reset(clip=index)
    arguments = truth.messages[1]["tool_calls"][0]["function"]["arguments"]
    environment.concentrate(**arguments)
    scan = {**truth.messages[1], "content": truth.messages[1]["content"][0]["text"]}
    look = {**truth.messages[3], "content": truth.messages[3]["content"][0]["text"]}
    (judgement,) = judge_rollouts([environment], [[scan, tool_reply([]), look]])
    assert judgement.parsed
    assert judgement.verdict == "anomalous"
    assert judgement.leaf == clips[index].anomalies[0].leaf
    (cut_short,) = judge_rollouts([environment], [[scan]])
    assert not cut_short.parsed


@pytest.mark.parametrize("windows", ["all", [[0.0]], [["a", "b"]], None, [[0.0, float("nan")]]])
def test_a_malformed_call_is_refused(environment: ConcentrateEnvironment, windows: object) -> None:
    environment.reset(clip=0)
    with pytest.raises(ValueError, match="windows must be"):
        environment.concentrate(windows)  # type: ignore[arg-type]
