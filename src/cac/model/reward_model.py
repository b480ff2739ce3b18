"""The reward model: both turns of the dialogue over a batch of videos, and the score.

Decoding is greedy and grammar-constrained, so a video always gets the same judgement, and almost always one that can be
parsed. The score is the calibrated probability that the second look names no anomaly: the product of the model's
probabilities of "none" along the answer, up to the first anomaly it names. The verdict token alone would say less,
because it only repeats the lines before it. An answer that cannot be parsed (truncated, or with inverted box corners)
abstains: margin 0, `parsed` false. Out of scope: generating tokens (`generation.py`).
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac.io.distributed import best_device
from cac.model.adapters import load_adapter
from cac.model.calibration import Calibration
from cac.model.generation import Turn, TurnGenerator
from cac.model.loading import base_identity, load_base
from cac.model.package import read_package
from cac.params import Frames, Params
from cac.schema.dialogue import (
    CONCENTRATE_TOOL,
    Message,
    Scan,
    look_content,
    look_prompt,
    parse_look,
    parse_scan,
    scan_prompt,
    split_tool_call,
    tool_reply,
    verbatim_reply,
)
from cac.schema.dialogue_grammar import look_grammar, scan_grammar
from cac.schema.judgement import Judgement, combine_turns, windows_from_findings
from cac.schema.taxonomy import LEAVES
from cac.video.decode import Video
from cac.video.views import View, coarse_view, dense_view, only_view

TOOLS = (CONCENTRATE_TOOL,)


@dataclass(frozen=True)
class Answer:
    """One generated answer.

    Attributes:
        text: the answer.
        margin: the log odds that it names no anomaly; 0 if it ended before the first choice.
        unaided: whether the model would have written it without a grammar.
    """

    text: str
    margin: float
    unaided: bool


@dataclass(frozen=True)
class SampledScan:
    """One scan of a clip: the answer as generated, and the parsed scan; None if it cannot be parsed."""

    answer: Answer
    scan: Scan | None


class RewardModel:
    """A base with its adapter, the frame settings, and the calibration of its score."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        frames: Frames,
        *,
        calibration: Calibration | None = None,
        max_turn_tokens: int,
    ) -> None:
        self.model = model
        self.processor = processor
        self.frames = frames
        self.calibration = calibration or Calibration()
        self.generator = TurnGenerator(model, processor, max_turn_tokens, none_token_id(processor.tokenizer))

    @classmethod
    def from_package(cls, folder: Path) -> "RewardModel":
        """Load a folder that `package.write_package` wrote.

        Raises:
            CacError: as `package.read_package`.
        """
        package = read_package(folder)
        return cls(
            package.model,
            package.processor,
            package.frames,
            calibration=package.calibration,
            max_turn_tokens=package.max_turn_tokens,
        )

    def score(self, judgement: Judgement) -> float:
        """Return the calibrated probability in [0, 1] that the video is clean."""
        return self.calibration.score(judgement.margin)

    def judge(self, videos: Sequence[Video], batch_size: int = 32) -> list[Judgement]:
        """Judge videos, in their order."""
        return list(self.iter_judgements(videos, batch_size))

    def iter_judgements(self, videos: Sequence[Video], batch_size: int = 32) -> Iterator[Judgement]:
        """Yield judgements batch by batch, so that a caller can show progress."""
        judge = self._judge_once if self.frames.looks == 1 else self._judge_batch
        for start in range(0, len(videos), batch_size):
            yield from judge(videos[start : start + batch_size])

    def sample_scans(self, videos: Sequence[Video], copies: int) -> list[list[SampledScan]]:
        """Return `copies` scans of each video; they differ if the generator samples."""
        _, prompts, grammars = self._scan_turn(videos)
        turn = self.generator.first_turn(prompts, grammars, TOOLS, last=True, copies=copies)
        scanned = [SampledScan(one, parse_scan(*split_tool_call(one.text))) for one in self._answers(turn)]
        return [scanned[start : start + copies] for start in range(0, len(scanned), copies)]

    def sample_looks(
        self, videos: Sequence[Video], scanned: Sequence[SampledScan], copies: int
    ) -> list[list[Judgement]]:
        """Return `copies` judgements of each video, given one parsed scan for each."""
        scans = [one.scan for one in scanned if one.scan is not None]
        coarse = [coarse_view(video, self.frames) for video in videos]
        dense = [dense_view(video, scan.windows, self.frames) for video, scan in zip(videos, scans, strict=True)]
        dialogues = [
            _second_turn(scan_prompt(seen.images, seen.times), one.answer.text, view)
            for seen, one, view in zip(coarse, scanned, dense, strict=True)
        ]
        grammars = [look_grammar(view.times) for view in dense]
        turn = self.generator.first_turn(dialogues, grammars, TOOLS, last=True, copies=copies)
        answers = self._answers(turn)
        return [
            [_judgement(one.answer, one.scan, look, views) for look in answers[i * copies : (i + 1) * copies]]
            for i, (one, views) in enumerate(zip(scanned, zip(coarse, dense, strict=True), strict=True))
        ]

    def _judge_once(self, videos: Sequence[Video]) -> list[Judgement]:
        """Judge by one look at the whole clip; the windows are where it names an anomaly."""
        views = [only_view(video, self.frames) for video in videos]
        prompts = [look_prompt(view.images, view.times) for view in views]
        turn = self.generator.first_turn(prompts, [look_grammar(view.times) for view in views], tools=None, last=True)
        return [_only_judgement(*row) for row in zip(videos, views, self._answers(turn), strict=True)]

    def _judge_batch(self, videos: Sequence[Video]) -> list[Judgement]:
        coarse, prompts, grammars = self._scan_turn(videos)
        scan_turn = self.generator.first_turn(prompts, grammars, TOOLS)
        scanned = self._answers(scan_turn)
        scans = [parse_scan(*split_tool_call(answer.text)) for answer in scanned]
        asked = [i for i, scan in enumerate(scans) if scan is not None]
        dense = {i: dense_view(videos[i], scans[i].windows, self.frames) for i in asked}  # type: ignore[union-attr]
        looks: dict[int, Answer] = {}
        if asked:
            dialogues = [_second_turn(prompts[i], scanned[i].text, dense[i]) for i in asked]
            grammars = [look_grammar(dense[i].times) for i in asked]
            look_turn = self.generator.next_turn(scan_turn, asked, dialogues, grammars, TOOLS, last=True)
            looks = dict(zip(asked, self._answers(look_turn), strict=True))
        return [_judgement(scanned[i], scans[i], looks.get(i), (coarse[i], dense.get(i))) for i in range(len(videos))]

    def _scan_turn(self, videos: Sequence[Video]) -> tuple[list[View], list[list[Message]], list[str]]:
        """Return the coarse view of each video, the prompts of turn 1, and the grammars of its answers."""
        coarse = [coarse_view(video, self.frames) for video in videos]
        prompts = [scan_prompt(view.images, view.times) for view in coarse]
        return coarse, prompts, [scan_grammar(view.times, self.generator.decoder.tag) for view in coarse]

    def _answers(self, turn: Turn) -> list[Answer]:
        tokenizer, none = self.processor.tokenizer, self.generator.watched_token
        rows = zip(turn.answers, turn.watched, turn.unaided, strict=True)
        return [_read_answer(tokenizer, none, *row) for row in rows]


def none_token_id(tokenizer: Any) -> int:
    """Return the first token of " none", checking that " seen" and the leaves start with other tokens."""
    words = ("none", "seen", *LEAVES)
    none, *others = (tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in words)
    if none in others:
        raise ValueError('" seen" or the name of an anomaly starts with the same token as " none" in this tokenizer')
    result: int = none
    return result


_CHOICE = re.compile(r"(?:^|\n)(?:\d{1,6}\.\d|attribution)")  # what precedes "none" or the name of an anomaly


def _read_answer(tokenizer: Any, none: int, row: list[int], none_logs: list[float], unaided: bool) -> Answer:
    """Decode a generated row, and sum the log-probabilities of "none" (token `none`) at its choices."""
    text, total, chose = "", 0.0, False
    for token, log in zip(row, none_logs, strict=True):
        line = text[text.rfind("\n") + 1 :]
        if _CHOICE.fullmatch(line):
            total, chose = total + log, True
            if token != none:
                break
        text += tokenizer.decode([token], skip_special_tokens=False)
    return Answer(tokenizer.decode(row, skip_special_tokens=False), log_odds(total) if chose else 0.0, unaided)


def log_odds(log_probability: float) -> float:
    """Return log(p / (1 - p)) of a probability given by its logarithm, clipped to [-30, 30]."""
    if log_probability >= 0:
        return 30.0
    return min(max(log_probability - math.log(-math.expm1(log_probability)), -30.0), 30.0)


def _second_turn(prompt: list[Message], scan_text: str, view: View) -> list[Message]:
    """Return the dialogue up to turn 2."""
    return [*prompt, verbatim_reply(scan_text), tool_reply(look_content(view.images, view.times))]


def _only_judgement(video: Video, view: View, answer: Answer) -> Judgement:
    look = parse_look(answer.text)
    scan = Scan((), windows_from_findings(look.findings, video.duration)) if look else None
    return combine_turns(
        scan,
        look,
        margin=answer.margin,
        frames_seen=len(view.indices),
        texts=("", answer.text),
        unaided=answer.unaided,
    )


def _judgement(scanned: Answer, scan: Scan | None, looked: Answer | None, views: tuple[View, View | None]) -> Judgement:
    coarse, dense = views
    seen = set(coarse.indices) | set(dense.indices if dense else [])
    looked = looked or Answer("", 0.0, unaided=False)
    return combine_turns(
        scan,
        parse_look(looked.text),
        margin=looked.margin,
        frames_seen=len(seen),
        texts=(scanned.text, looked.text),
        unaided=scanned.unaided and looked.unaided,
    )


def load_reward_model(adapter: Path | None, params: Params) -> RewardModel:
    """Load the base, with an adapter or without, as a reward model on the best device.

    Raises:
        CacError: the base or the adapter is missing or does not fit.
    """
    model, processor = load_base(params.model)
    if adapter is not None:
        model = load_adapter(model, adapter, base_identity(params.model), trainable=False)
    model = model.eval().to(best_device())
    return RewardModel(model, processor, params.frames, max_turn_tokens=params.evaluation.max_turn_tokens)
