from pathlib import Path

import pytest

from cac.errors import CacError
from cac.params import Params
from cac.schema.annotations import Distractor, read_clips
from cac.schema.dialogue import parse_look, parse_scan, split_tool_call, write_look
from cac.schema.taxonomy import LEAVES
from cac.training.samples import build_dialogue, draw_specs
from cac.video.clip_store import ClipStore


@pytest.fixture
def clips(small_dataset: Path):
    return read_clips(small_dataset)


def test_batches_are_of_one_kind_and_hold_the_share_of_anomalies(clips, project_params: Params) -> None:
    changes = {"max_steps": 40, "batch_size": 6, "anomalous_ratio": 0.67, "single_frame_ratio": 0.3}
    settings = project_params.multi_frame_sft.model_copy(update=changes)
    specs = draw_specs(clips, settings, seed=3)
    assert specs == draw_specs(clips, settings, seed=3) != draw_specs(clips, settings, seed=4)
    kinds = set()
    for start in range(0, len(specs), 6):
        batch = specs[start : start + 6]
        single = {spec.frame is not None for spec in batch}
        assert len(single) == 1
        kinds |= single
        shown = [
            bool(clips[s.clip].boxes_at(s.frame)) if s.frame is not None else not clips[s.clip].is_clean for s in batch
        ]
        assert sum(shown) == 4
    assert kinds == {True, False}


def test_single_frames_show_only_what_a_frame_can_show(clips, project_params: Params) -> None:
    for spec in draw_specs(clips, project_params.single_frame_sft.model_copy(update={"max_steps": 5}), seed=1):
        assert spec.frame is not None
        assert all(LEAVES[leaf].visible_in_frame for leaf, _ in clips[spec.clip].boxes_at(spec.frame))


def test_the_true_answers_are_in_the_grammar_and_true(clips, small_dataset: Path, project_params: Params) -> None:
    settings = project_params.multi_frame_sft.model_copy(
        update={"max_steps": 12, "batch_size": 4, "single_frame_ratio": 0}
    )
    store = ClipStore(small_dataset)
    wrong_scans = 0
    for spec in draw_specs(clips, settings, seed=5):
        clip, dialogue = clips[spec.clip], build_dialogue(spec, clips, store, project_params.frames)
        _, scan_message, tool, look_message = dialogue.messages
        scan = parse_scan(scan_message["content"][0]["text"], scan_message["tool_calls"])
        look = parse_look(look_message["content"][0]["text"])
        assert scan is not None
        assert look is not None
        assert write_look(look) == look_message["content"][0]["text"]
        assert len([block for block in tool["content"] if block["type"] == "image"]) == len(look.findings)
        if dialogue.learn_from_turn == 1:
            wrong_scans += 1
            assert scan.windows or not clip.is_clean
            assert list(scan.windows) != clip.windows
            continue
        assert bool(scan.windows) != clip.is_clean
        assert (look.verdict == "clean") == clip.is_clean
        assert look.leaf == (None if clip.is_clean else clip.anomalies[0].leaf)
    assert wrong_scans


def test_a_clean_clip_is_wrongly_suspected_where_something_ordinary_happens(clips, project_params: Params) -> None:
    lamp = Distractor(name="lamp", window=(0.75, 1.25))
    clean = [clip.model_copy(update={"distractors": (lamp,)}) for clip in clips if clip.is_clean]
    anomalous = [clip for clip in clips if not clip.is_clean]
    settings = project_params.multi_frame_sft.model_copy(update={"max_steps": 12, "wrong_scan_ratio": 1.0})
    specs = [s for s in draw_specs([*clean, *anomalous], settings, seed=5) if s.frame is None and s.clip < len(clean)]
    assert specs
    for spec in specs:
        assert spec.wrong_windows is not None
        ((start, end),) = spec.wrong_windows
        assert abs(start - 0.75) <= 0.7
        assert abs(end - 1.25) <= 0.7


def test_a_written_scan_reads_back_from_text() -> None:
    text = (
        '0.1 clear\n0.5 odd\n<tool_call>\n{"name": "concentrate", "arguments": {"windows": [[0.4, 1.0]]}}\n</tool_call>'
    )
    scan = parse_scan(*split_tool_call(text))
    assert scan is not None
    assert scan.windows == ((0.4, 1.0),)
    assert scan.odd == ((0.1, False), (0.5, True))


def test_with_one_look_the_whole_clip_is_shown_and_judged_at_once(clips, small_dataset: Path, project_params: Params):
    frames = project_params.frames.model_copy(update={"looks": 1})
    settings = project_params.multi_frame_sft.model_copy(
        update={"max_steps": 3, "batch_size": 4, "single_frame_ratio": 0}
    )
    for spec in draw_specs(clips, settings, seed=5):
        dialogue = build_dialogue(spec, clips, ClipStore(small_dataset), frames)
        question, answer = dialogue.messages
        look = parse_look(answer["content"][0]["text"])
        assert look is not None
        assert not dialogue.has_tool
        assert len(look.findings) == len([b for b in question["content"] if b["type"] == "image"]) == 14
        assert (look.verdict == "clean") == clips[spec.clip].is_clean


def test_with_no_look_the_same_frames_are_asked_yes_or_no(clips, small_dataset: Path, project_params: Params) -> None:
    frames = project_params.frames.model_copy(update={"looks": 0})
    one_look = frames.model_copy(update={"looks": 1})
    settings = project_params.multi_frame_sft.model_copy(
        update={"max_steps": 6, "batch_size": 4, "single_frame_ratio": 0.5}
    )
    specs, store = draw_specs(clips, settings, seed=5), ClipStore(small_dataset)
    answers = set()
    for spec in specs:
        dialogue, look = (build_dialogue(spec, clips, store, shown) for shown in (frames, one_look))
        clip, (question, answer) = clips[spec.clip], dialogue.messages
        assert [b for b in question["content"] if b["type"] == "image"] == [
            b for b in look.messages[0]["content"] if b["type"] == "image"
        ]
        assert dialogue.image_labels == look.image_labels
        clean = clip.is_clean if spec.frame is None else not clip.boxes_at(spec.frame)
        assert answer["content"][0]["text"] == ("seen no" if clean else "seen yes")
        answers.add((spec.frame is None, clean))
    assert len(answers) == 4


def test_a_kind_of_sample_that_no_clip_can_give_is_named(clips, project_params: Params) -> None:
    anomalous = [clip for clip in clips if not clip.is_clean]
    with pytest.raises(CacError, match="no clean clip"):
        draw_specs(anomalous, project_params.multi_frame_sft, seed=3)
    with pytest.raises(CacError, match="no anomaly that a single frame shows"):
        draw_specs([clip for clip in clips if clip.is_clean], project_params.single_frame_sft, seed=3)


def test_an_anomaly_in_every_frame_gives_no_frame_without_one(clips, project_params: Params) -> None:
    clip = next(clip for clip in clips if not clip.is_clean)
    box = clip.anomalies[0].boxes[0]
    boxes = tuple(box.model_copy(update={"frame": frame}) for frame in range(clip.frame_count))
    whole = clip.model_copy(update={"anomalies": (clip.anomalies[0].model_copy(update={"boxes": boxes}),)})
    specs = draw_specs([whole, *clips], project_params.single_frame_sft, seed=3)
    shown = [bool([whole, *clips][spec.clip].boxes_at(spec.frame)) for spec in specs]
    assert sum(shown) == len(specs) * project_params.single_frame_sft.anomalous_ratio
