"""What the settings mean for the clips at hand, before anything is trained: frames, tokens, segments, what is seen.

Numbers are counted, not estimated: prompts are made with blank frames of the clips' shapes and tokenised by the base's
own processor; no video is opened and no weights are loaded. Out of scope: seconds and memory, which depend on the
machine (`docs/reference/scaling.md` has the arithmetic).
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from cac.frames import Frames
from cac.model.loading import load_processor
from cac.params import Params, Sft
from cac.schema.annotations import Clip, iter_clips
from cac.schema.dialogue import (
    CONCENTRATE_TOOL,
    Finding,
    Look,
    Scan,
    look_content,
    look_reply,
    scan_prompt,
    scan_reply,
    tool_reply,
)
from cac.schema.taxonomy import LEAVES
from cac.video.sampling import coarse_indices, even_times, look_indices
from cac.video.segments import chance_shown, segment_spans

WINDOWS = (0.25, 0.5, 1.0)  # seconds whose chance to be seen is computed
SHAPES = 20  # the most frequent ones


@dataclass(frozen=True)
class Shape:
    """Clips of one size, rate and length; the length is the longest of them, in whole frames."""

    width: int
    height: int
    fps: float
    seconds: int  # rounded up


@dataclass(frozen=True)
class ShapePlan:
    """What a model sees of clips of a shape.

    Attributes:
        shape: of the clips.
        clips: how many there are.
        segments: of a clip.
        coarse, dense: the frames of both turns of the longest segment, at most.
        scan_tokens, look_tokens: what the two turns' prompts add, tokens of frames and text.
        dialogue_tokens: the whole dialogue of a segment with its longest answers.
        seen: window in seconds -> share of its places that show in a coarse frame; of windows shorter than the clip.
    """

    shape: Shape
    clips: int
    segments: int
    coarse: int
    dense: int
    scan_tokens: int
    look_tokens: int
    dialogue_tokens: int
    seen: Mapping[float, float]


@dataclass(frozen=True)
class Plan:
    """The plan of a project.

    Attributes:
        shapes: the most frequent shapes, most frequent first.
        others: how many clips have other shapes.
        clips: how many clips there are.
        segments: of all clips of `shapes`.
        bytes: of the dataset's videos.
        step_tokens: supervised stage -> tokens of an optimiser step of two-turn dialogues, on average.
    """

    shapes: tuple[ShapePlan, ...]
    others: int
    clips: int
    segments: int
    bytes: int
    step_tokens: Mapping[str, int]


def make_plan(params: Params, dataset: Path) -> Plan:
    """Return what the settings mean for a dataset.

    Raises:
        CacError: the dataset or the base cannot be read.
    """
    counts: Counter[Shape] = Counter()
    size = 0
    for clip in iter_clips(dataset):
        counts[_shape(clip)] += 1
        path = dataset / clip.path
        size += path.stat().st_size if path.is_file() else 0
    processor = load_processor(params.model)
    shown = counts.most_common(SHAPES)
    shapes = tuple(_plan_shape(shape, count, params.frames, processor) for shape, count in shown)
    segments = sum(one.segments * one.clips for one in shapes)
    mean = sum(one.dialogue_tokens * one.segments * one.clips for one in shapes) / max(1, segments)
    stages = {"single_frame_sft": params.single_frame_sft, "multi_frame_sft": params.multi_frame_sft}
    return Plan(
        shapes=shapes,
        others=counts.total() - sum(count for _, count in shown),
        clips=counts.total(),
        segments=segments,
        bytes=size,
        step_tokens={name: round(mean * _dialogues(stage)) for name, stage in stages.items() if _dialogues(stage)},
    )


def _dialogues(stage: Sft) -> float:
    """Return how many two-turn dialogues an optimiser step has."""
    return stage.batch_size * stage.gradient_accumulation_steps * (1 - stage.single_frame_ratio)


def _shape(clip: Clip) -> Shape:
    return Shape(clip.width, clip.height, round(clip.fps, 3), math.ceil(clip.duration - 1e-6))


def _plan_shape(shape: Shape, clips: int, frames: Frames, processor: Any) -> ShapePlan:
    times = even_times(round(shape.seconds * shape.fps), shape.fps)
    spans = segment_spans(times, shape.seconds, frames)
    count = max(map(len, spans))
    seconds = count / shape.fps
    coarse = coarse_indices(count, seconds, frames)
    dense = look_indices([(0.0, seconds)], even_times(count, shape.fps), seconds, frames)
    scan, look, whole = _tokens(shape, [times[i] for i in coarse], [times[i] for i in dense], frames, processor)
    return ShapePlan(
        shape,
        clips,
        len(spans),
        len(coarse),
        len(dense),
        scan,
        look,
        whole,
        {
            window: chance_shown(window, shape.seconds, shape.fps, frames)
            for window in WINDOWS
            if window < shape.seconds
        },
    )


def _tokens(
    shape: Shape, coarse: list[float], dense: list[float], frames: Frames, processor: Any
) -> tuple[int, int, int]:
    """Return the tokens of the scan's prompt, of the look's, and of the whole dialogue with its longest answers."""
    first = scan_prompt(_blank(shape, frames.coarse_size, len(coarse)), coarse)
    scan = scan_reply(Scan(tuple((time, True) for time in coarse), ((0.0, coarse[-1] + 0.1),)))
    shown = tool_reply(look_content(_blank(shape, frames.dense_size, len(dense)), dense))
    findings = tuple(Finding(time, (0.1, 0.1, 1.0, 1.0)) for time in dense)
    look = look_reply(Look(findings, None, max(LEAVES, key=len), "anomalous"))
    lengths = [_length(processor, messages) for messages in (first, [*first, scan], [*first, scan, shown])]
    whole = _length(processor, [*first, scan, shown, look])
    return lengths[0], lengths[2] - lengths[1], whole


def _length(processor: Any, messages: list[dict[str, Any]]) -> int:
    rendered = processor.apply_chat_template(
        [messages], tools=[CONCENTRATE_TOOL], tokenize=True, return_dict=True, add_generation_prompt=False
    )
    return len(rendered["input_ids"][0])


def _blank(shape: Shape, side: int, count: int) -> list[Image.Image]:
    scale = side / max(shape.width, shape.height)
    size = (max(1, round(shape.width * scale)), max(1, round(shape.height * scale)))
    return [Image.new("RGB", size)] * count
