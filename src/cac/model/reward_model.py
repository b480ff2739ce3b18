"""The reward model: both turns of the dialogue over a batch of videos, and the score.

Decoding is greedy and grammar-constrained, so a video always gets the same judgement, and almost always one that can be
parsed. The score is the calibrated probability that the second look names no anomaly: the product, over the frames, of
the probability of "none" among the words that the grammar allows there, up to the first anomaly it names. Words that
the grammar forces (the attribution after a clear clip, the verdict) only repeat what was chosen before; they do not
count. With `frames.looks: 0` it is the calibrated probability of the answer no. An answer that cannot be parsed (it was
truncated) abstains: margin 0, `parsed` false. Out of scope: generating tokens (`generation.py`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from cac.frames import Frames
from cac.io.distributed import best_device
from cac.model.adapters import load_adapter
from cac.model.calibration import Calibration
from cac.model.familiarity import Familiarity, Traits, measure
from cac.model.generation import Turn, TurnGenerator
from cac.model.loading import base_identity, load_base
from cac.model.package import read_package
from cac.params import Params
from cac.schema.dialogue import (
    CONCENTRATE_TOOL,
    Look,
    Message,
    Scan,
    look_content,
    look_prompt,
    parse_look,
    parse_scan,
    parse_yes_no,
    scan_prompt,
    split_tool_call,
    tool_reply,
    verbatim_reply,
    yes_no_prompt,
)
from cac.schema.dialogue_grammar import look_grammar, scan_grammar, yes_no_grammar
from cac.schema.judgement import Judgement, ShownFrames, combine_turns
from cac.schema.merge import merge_judgements
from cac.schema.taxonomy import LEAVES
from cac.video.decode import AnyVideo, VideoSegment
from cac.video.segments import cut_video
from cac.video.views import View, coarse_view, dense_view, only_view

TOOLS = (CONCENTRATE_TOOL,)
UNPARSED = "unparsed: the answer broke the grammar, so neither score nor verdict says anything"


@dataclass(frozen=True)
class Answer:
    """One generated answer.

    Attributes:
        text: the answer.
        margin: the log odds that it names no anomaly; 0 if it has no choice between none and an anomaly.
        unaided: whether the model would have written it without a grammar.
    """

    text: str
    margin: float
    unaided: bool


@dataclass(frozen=True)
class ScanAnswer:
    """One scan of a clip: the answer as generated, and the parsed scan; None if it cannot be parsed."""

    answer: Answer
    scan: Scan | None


class RewardModel:
    """A base with its adapter, the frame settings, the calibration of its score, and what it warns of.

    With a calibration that has a threshold, the verdict of a judgement is that of its score.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        frames: Frames,
        *,
        calibration: Calibration | None = None,
        max_turn_tokens: int,
        familiarity: Familiarity | None = None,
        scope: str | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.frames = frames
        self.calibration = calibration or Calibration()
        self.familiarity = familiarity
        self.scope = scope
        self.clean_token = (none_token_id if frames.looks else no_token_id)(processor.tokenizer)
        self.generator = TurnGenerator(model, processor, max_turn_tokens, self.clean_token)

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
            familiarity=package.familiarity,
            scope=package.scope,
        )

    def score(self, judgement: Judgement) -> float:
        """Return the calibrated probability in [0, 1] that the video is clean."""
        return self.calibration.probability(judgement)

    def judge(self, videos: Sequence[AnyVideo], batch_size: int = 32) -> list[Judgement]:
        """Judge videos, in their order."""
        return list(self.iter_judgements(videos, batch_size))

    def iter_judgements(self, videos: Sequence[AnyVideo], batch_size: int = 32) -> Iterator[Judgement]:
        """Yield judgements batch by batch, so that a caller can show progress; long videos are judged in segments."""
        for start in range(0, len(videos), batch_size):
            batch = videos[start : start + batch_size]
            yield from map(self._finish, self._judge_whole(batch, batch_size), self._warnings(batch))

    def _judge_whole(self, videos: Sequence[AnyVideo], batch_size: int) -> list[Judgement]:
        """Judge videos by their segments, at most `batch_size` of them at once."""
        judge = {0: self._judge_yes_no, 1: self._judge_once, 2: self._judge_batch}[self.frames.looks]
        cut = [cut_video(video, self.frames) for video in videos]
        segments = [segment for parts in cut for segment in parts]
        batches = (segments[start : start + batch_size] for start in range(0, len(segments), batch_size))
        judged = iter([judgement for batch in batches for judgement in judge(batch)])
        starts = [[one.start if isinstance(one, VideoSegment) else 0.0 for one in parts] for parts in cut]
        return [merge_judgements(list(islice(judged, len(own))), own) for own in starts]

    def _finish(self, judgement: Judgement, warnings: tuple[str, ...]) -> Judgement:
        """Decide the verdict by the score, and add the warnings."""
        if not judgement.parsed:
            warnings = (*warnings, UNPARSED)
        return replace(self.calibration.decide(judgement), warnings=warnings)

    def _warnings(self, videos: Sequence[AnyVideo]) -> list[tuple[str, ...]]:
        """Return what a user of each video's score should know."""
        scope = (self.scope,) if self.scope else ()
        if self.familiarity is None:
            return [scope] * len(videos)
        return [(*scope, *self.familiarity.warnings(traits)) for traits in self.traits(videos)]

    def traits(self, videos: Sequence[AnyVideo]) -> list[Traits]:
        """Return what is measured of each video to tell whether it is like those of the calibration."""
        return measure(videos, self.model, self.processor, self.frames)

    def sample_scans(self, videos: Sequence[AnyVideo], copies: int) -> list[list[ScanAnswer]]:
        """Return `copies` scans of each video; they differ if the generator samples."""
        _, prompts, grammars = self._scan_turn(videos)
        turn = self.generator.first_turn(prompts, grammars, TOOLS, last=True, copies=copies)
        scanned = self._scan_answers(turn)
        return [scanned[start : start + copies] for start in range(0, len(scanned), copies)]

    def sample_looks(
        self, videos: Sequence[AnyVideo], scanned: Sequence[ScanAnswer], copies: int
    ) -> list[list[Judgement]]:
        """Return `copies` judgements of each video, given one parsed scan for each."""
        scans = [one.scan for one in scanned if one.scan is not None]
        coarse = [coarse_view(video, self.frames) for video in videos]
        dense = [dense_view(video, scan.windows, self.frames) for video, scan in zip(videos, scans, strict=True)]
        dialogues = [
            _second_turn(scan_prompt(seen.images, seen.times), one.answer.text, view)
            for seen, one, view in zip(coarse, scanned, dense, strict=True)
        ]
        grammars = [look_grammar(view.stamps, self.generator.decoder.tag) for view in dense]
        turn = self.generator.first_turn(dialogues, grammars, TOOLS, last=True, copies=copies)
        answers = self._answers(turn)
        return [
            [_judgement(video, one, look, views) for look in answers[i * copies : (i + 1) * copies]]
            for i, (video, one, *views) in enumerate(zip(videos, scanned, coarse, dense, strict=True))
        ]

    def _judge_once(self, videos: Sequence[AnyVideo]) -> list[Judgement]:
        """Judge by one look at the whole clip; the windows are where it names an anomaly."""
        views = [only_view(video, self.frames) for video in videos]
        answers = self.look_at(views)
        looks = [parse_look(answer.text) for answer in answers]
        return [_only_judgement(*row) for row in zip(videos, views, answers, looks, strict=True)]

    def _judge_yes_no(self, videos: Sequence[AnyVideo]) -> list[Judgement]:
        """Judge by one answer, yes or no, to the frames of one look; there are no windows, boxes or attribution."""
        views = [only_view(video, self.frames) for video in videos]
        prompts = [yes_no_prompt(view.images, view.times) for view in views]
        grammars = [yes_no_grammar(self.generator.decoder.tag)] * len(views)
        answers = self._answers(self.generator.first_turn(prompts, grammars, tools=None, last=True))
        looks = [parse_yes_no(answer.text) for answer in answers]
        return [_only_judgement(*row) for row in zip(videos, views, answers, looks, strict=True)]

    def look_at(self, views: Sequence[View]) -> list[Answer]:
        """Return the answer of one look at each view, without a scan before it."""
        prompts = [look_prompt(view.images, view.times) for view in views]
        grammars = [look_grammar(view.stamps, self.generator.decoder.tag) for view in views]
        return self._answers(self.generator.first_turn(prompts, grammars, tools=None, last=True))

    def _judge_batch(self, videos: Sequence[AnyVideo]) -> list[Judgement]:
        coarse, prompts, grammars = self._scan_turn(videos)
        scan_turn = self.generator.first_turn(prompts, grammars, TOOLS)
        scanned = self._scan_answers(scan_turn)
        dense = {
            i: dense_view(videos[i], one.scan.windows, self.frames)
            for i, one in enumerate(scanned)
            if one.scan is not None
        }
        looks: dict[int, Answer] = {}
        if dense:
            dialogues = [_second_turn(prompts[i], scanned[i].answer.text, view) for i, view in dense.items()]
            grammars = [look_grammar(view.stamps, self.generator.decoder.tag) for view in dense.values()]
            look_turn = self.generator.next_turn(scan_turn, list(dense), dialogues, grammars, TOOLS, last=True)
            looks = dict(zip(dense, self._answers(look_turn), strict=True))
        return [
            _judgement(video, scanned[i], looks.get(i), (coarse[i], dense.get(i))) for i, video in enumerate(videos)
        ]

    def _scan_turn(self, videos: Sequence[AnyVideo]) -> tuple[list[View], list[list[Message]], list[str]]:
        """Return the coarse view of each video, the prompts of turn 1, and the grammars of its answers."""
        coarse = [coarse_view(video, self.frames) for video in videos]
        prompts = [scan_prompt(view.images, view.times) for view in coarse]
        return coarse, prompts, [scan_grammar(view.stamps, self.generator.decoder.tag) for view in coarse]

    def _scan_answers(self, turn: Turn) -> list[ScanAnswer]:
        return [ScanAnswer(one, parse_scan(*split_tool_call(one.text))) for one in self._answers(turn)]

    def _answers(self, turn: Turn) -> list[Answer]:
        texts = [self.processor.tokenizer.decode(row, skip_special_tokens=False) for row in turn.answers]
        margins = [
            none_margin(row, logs, self.clean_token) for row, logs in zip(turn.answers, turn.watched, strict=True)
        ]
        return [Answer(*one) for one in zip(texts, margins, turn.unaided, strict=True)]


def none_token_id(tokenizer: Any) -> int:
    """Return the first token of " none", checking that " seen" and the leaves start with other tokens."""
    return _distinct_token_id(tokenizer, "none", ("seen", *LEAVES))


def no_token_id(tokenizer: Any) -> int:
    """Return the first token of " no", checking that " yes" starts with another."""
    return _distinct_token_id(tokenizer, "no", ("yes",))


def _distinct_token_id(tokenizer: Any, word: str, others: Sequence[str]) -> int:
    token, *rest = (tokenizer(f" {one}", add_special_tokens=False)["input_ids"][0] for one in (word, *others))
    if token in rest:
        raise ValueError(f'one of " {", ".join(others)}" starts with the same token as " {word}" in this tokenizer')
    result: int = token
    return result


def none_margin(tokens: Sequence[int], none_logs: Sequence[float | None], none: int) -> float:
    """Return the log odds that an answer names no anomaly; 0 if it never had the choice.

    Args:
        tokens: the answer.
        none_logs: for each token, the log-probability of "none" among the allowed tokens; None where there was no
            choice that included it, as at forced tokens.
        none: the token of "none".
    """
    choices = [(token, log) for token, log in zip(tokens, none_logs, strict=True) if log is not None]
    named = next((i for i, (token, _) in enumerate(choices) if token != none), len(choices))
    return log_odds(sum(log for _, log in choices[: named + 1])) if choices else 0.0


def log_odds(log_probability: float) -> float:
    """Return log(p / (1 - p)) of a probability given by its logarithm, clipped to [-30, 30]."""
    if log_probability >= 0:
        return 30.0
    return min(max(log_probability - math.log(-math.expm1(log_probability)), -30.0), 30.0)


def _second_turn(prompt: list[Message], scan_text: str, view: View) -> list[Message]:
    """Return the dialogue up to turn 2."""
    return [*prompt, verbatim_reply(scan_text), tool_reply(look_content(view.images, view.times))]


def _only_judgement(video: AnyVideo, view: View, answer: Answer, look: Look | None) -> Judgement:
    return combine_turns(
        Scan((), ()),
        look,
        shown=_shown(video, view),
        margin=answer.margin,
        frames_seen=len(view.indices),
        texts=("", answer.text),
        unaided=answer.unaided,
    )


def _judgement(video: AnyVideo, scanned: ScanAnswer, looked: Answer | None, views: Sequence[View | None]) -> Judgement:
    """Combine a scan and its look (None: there was none) into a judgement; `views` are the frames of both turns."""
    looked = looked or Answer("", 0.0, unaided=False)
    return combine_turns(
        scanned.scan,
        parse_look(looked.text),
        shown=_shown(video, views[-1]),
        margin=looked.margin,
        frames_seen=len({index for view in views if view for index in view.indices}),
        texts=(scanned.answer.text, looked.text),
        unaided=scanned.answer.unaided and looked.unaided,
    )


def _shown(video: AnyVideo, view: View | None) -> ShownFrames:
    return ShownFrames(tuple(view.times) if view else (), 1 / video.fps, video.duration)


def load_reward_model(adapter: Path | None, params: Params) -> RewardModel:
    """Load the base, with an adapter or without, as a reward model on the best device.

    Raises:
        CacError: the base or the adapter is missing or does not fit.
    """
    model, processor = load_base(params.model)
    if adapter is not None:
        model = load_adapter(model, adapter, base_identity(params.model), params.adapter, trainable=False)
    model = model.eval().to(best_device())
    return RewardModel(model, processor, params.frames, max_turn_tokens=params.evaluation.max_turn_tokens)
