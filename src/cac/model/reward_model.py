"""The reward model at work: both turns of the dialogue over a batch of videos, and the score.

Decoding is greedy, so a video gets the same judgement every time. The score is the calibrated probability of the clean
verdict, read from the verdict token's logits. An answer outside the grammar abstains: margin 0, `parsed` false. Left
out for now: reuse of the first turn's key/value cache.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac.dialogue import (
    CONCENTRATE_TOOL,
    Message,
    Scan,
    look_content,
    parse_look,
    parse_scan,
    scan_prompt,
    split_tool_call,
    tool_reply,
)
from cac.evaluation.calibration import calibrated_score
from cac.judgement import Judgement, judgement_of
from cac.params import Frames
from cac.video import Video
from cac.views import View, coarse_view, dense_view

FORBIDDEN_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")


def forbidden_token_ids(tokenizer: Any) -> list[int]:
    """Return the vision tokens that a policy must never write: they would be taken for images."""
    return tokenizer.convert_tokens_to_ids(list(FORBIDDEN_TOKENS))


@dataclass(frozen=True)
class _Answer:
    """What one generation gave: the text, and the verdict margin (0 if no verdict was written)."""

    text: str
    margin: float


class RewardModel:
    """A base with its adapter, the frames it looks at, and its calibration temperature."""

    def __init__(
        self, model: Any, processor: Any, frames: Frames, *, temperature: float = 1.0, max_turn_tokens: int
    ) -> None:
        self.model = model
        self.processor = processor
        self.frames = frames
        self.temperature = temperature
        self.max_turn_tokens = max_turn_tokens

    @classmethod
    def from_package(cls, folder: Path) -> "RewardModel":
        """Load what `package.write_package` wrote."""
        from cac.model.package import load_package

        return load_package(folder)

    def score(self, judgement: Judgement) -> float:
        """Return the calibrated probability in [0, 1] that the video is clean."""
        return calibrated_score(judgement.margin, self.temperature)

    def judge(self, videos: Sequence[Video], batch_size: int = 32) -> list[Judgement]:
        """Judge videos, in their order."""
        return list(self.iter_judgements(videos, batch_size))

    def iter_judgements(self, videos: Sequence[Video], batch_size: int = 32) -> Iterator[Judgement]:
        """Yield judgements batch by batch, so that a caller can show progress."""
        for start in range(0, len(videos), batch_size):
            yield from self._judge_batch(videos[start : start + batch_size])

    def _judge_batch(self, videos: Sequence[Video]) -> list[Judgement]:
        coarse = [coarse_view(video, self.frames) for video in videos]
        prompts = [scan_prompt(view.images, view.times) for view in coarse]
        scans_text = [answer.text for answer in self._generate(prompts)]
        scans = [parse_scan(*split_tool_call(text)) for text in scans_text]
        asked = [i for i, scan in enumerate(scans) if scan is not None]
        dense = {i: dense_view(videos[i], scans[i].windows, self.frames) for i in asked}  # type: ignore[union-attr]
        dialogues = [_second_turn(prompts[i], scans_text[i], dense[i]) for i in asked]
        looks = dict(zip(asked, self._generate(dialogues), strict=True)) if asked else {}
        return [
            _judgement(scans_text[i], scans[i], looks.get(i), (coarse[i], dense.get(i))) for i in range(len(videos))
        ]

    def _generate(self, dialogues: list[list[Message]]) -> list[_Answer]:
        """Generate the next assistant message of each dialogue, greedily."""
        import torch
        from transformers import LogitsProcessorList

        batch = self.processor.apply_chat_template(
            dialogues,
            tools=[CONCENTRATE_TOOL],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "padding_side": "left"},
        ).to(self.model.device)
        tokenizer = self.processor.tokenizer
        verdict_ids = verdict_token_ids(tokenizer)
        margins = _MarginRecorder(verdict_ids)
        with torch.inference_mode():
            output = self.model.generate(
                **batch,
                do_sample=False,
                max_new_tokens=self.max_turn_tokens,
                suppress_tokens=forbidden_token_ids(tokenizer),
                logits_processor=LogitsProcessorList([margins]),
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        rows = output[:, batch["input_ids"].shape[1] :].tolist()
        return [_read_answer(tokenizer, row, [m[i] for m in margins.steps], verdict_ids) for i, row in enumerate(rows)]


class _MarginRecorder:
    """A logits processor that changes nothing and keeps, step by step, clean minus anomalous of each row."""

    def __init__(self, verdict_ids: tuple[int, int]) -> None:
        self.clean, self.anomalous = verdict_ids
        self.steps: list[list[float]] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self.steps.append((scores[:, self.clean] - scores[:, self.anomalous]).tolist())
        return scores


def verdict_token_ids(tokenizer: Any) -> tuple[int, int]:
    """Return the first token of " clean" and of " anomalous", which must differ."""
    clean, anomalous = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in (" clean", " anomalous"))
    if clean == anomalous:
        raise ValueError("the tokenizer starts both verdicts with the same token")
    return clean, anomalous


def _read_answer(tokenizer: Any, row: list[int], margins: list[float], verdict_ids: tuple[int, int]) -> _Answer:
    """Cut a generated row at its end token, decode it, and find the margin at the verdict."""
    if tokenizer.eos_token_id in row:
        row = row[: row.index(tokenizer.eos_token_id)]
    text = tokenizer.decode(row, skip_special_tokens=False)
    for position in range(len(row) - 1, 0, -1):
        if row[position] in verdict_ids and tokenizer.decode(row[:position]).endswith("verdict"):
            return _Answer(text, margins[position])
    return _Answer(text, 0.0)


def _second_turn(prompt: list[Message], scan_text: str, view: View) -> list[Message]:
    """Return the dialogue up to turn 2; the scan goes in as it was written, so its tokens stay the same."""
    scan = {"role": "assistant", "content": [{"type": "text", "text": scan_text}]}
    return [*prompt, scan, tool_reply(look_content(view.images, view.times))]


def _judgement(scan_text: str, scan: Scan | None, answer: _Answer | None, views: tuple[View, View | None]) -> Judgement:
    coarse, dense = views
    seen = set(coarse.indices) | set(dense.indices if dense else [])
    look = parse_look(answer.text) if answer else None
    margin, look_text = (answer.margin, answer.text) if answer else (0.0, "")
    return judgement_of(scan, look, margin=margin, frames_seen=len(seen), texts=(scan_text, look_text))
