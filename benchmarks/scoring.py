"""Compare `RewardModel.judge` with a plain generation loop: speed, and equality of the judgements.

    python -m benchmarks.scoring --clips 64

The plain loop is what a tutorial would write: two calls of `generate` for each video, an unmerged adapter, a logits
processor for the grammar, and the whole dialogue encoded again in the second call. `RewardModel.judge` runs in batches,
reuses the cache of the first turn, appends forced tokens without a forward pass, and merges the adapter. Both judge the
same val clips with the last stage's checkpoint, one after the other in one process; compare the ratio of their times.
Exit code 1 if a verdict differs, or a score by more than 0.001.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LogitsProcessorList

from cac.model.adapters import load_adapter
from cac.model.constrained_decoding import allowed_tokens, choice_log_probability
from cac.model.generation import Turn, TurnGenerator
from cac.model.loading import base_identity, load_base, make_deterministic
from cac.model.reward_model import RewardModel, none_token_id
from cac.params import Params, load_params
from cac.paths import DATASET, MODELS, TWO_TURN_GRPO
from cac.schema.annotations import read_clips
from cac.schema.dialogue import Message
from cac.schema.judgement import Judgement
from cac.video.clip_store import ClipStore
from cac.video.decode import AnyVideo

LARGEST_DIFFERENCE = 1e-3


class PlainGenerator(TurnGenerator):
    """A generator that encodes every dialogue from the start, one by one, and generates token by token."""

    def first_turn(
        self,
        dialogues: list[list[Message]],
        grammars: list[str],
        tools: Sequence[Message] | None,
        *,
        last: bool = False,
        copies: int = 1,
    ) -> Turn:
        """Generate the next message of one dialogue."""
        assert copies == 1
        batch = self._encode(dialogues, tools)
        constraint = _Grammar(self.decoder.matcher(grammars[0]), self.watched_token)
        tokenizer = self.processor.tokenizer
        written = self.model.generate(
            **batch,
            do_sample=False,
            max_new_tokens=self.max_turn_tokens,
            logits_processor=LogitsProcessorList([constraint]),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        answer = [token for token in written[0, batch["input_ids"].shape[1] :].tolist() if token != self.decoder.end]
        return Turn([answer], [constraint.watched[: len(answer)]], [True], None)

    def next_turn(
        self,
        turn: Turn,
        rows: list[int],
        dialogues: list[list[Message]],
        grammars: list[str],
        tools: Sequence[Message] | None,
        *,
        last: bool = False,
    ) -> Turn:
        """Generate the next message of the dialogue, without the previous turn's cache."""
        return self.first_turn(dialogues, grammars, tools)


class _Grammar:
    """A logits processor that constrains one row to a grammar and records the log-probability of one token."""

    def __init__(self, matcher: Any, watched: int | None) -> None:
        self.matcher, self.token = matcher, watched
        self.watched: list[float | None] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if self.watched:
            self.matcher.consume_token(int(input_ids[0, -1]))
        allowed = allowed_tokens(self.matcher)
        self.watched.append(choice_log_probability(scores[0].numpy(), allowed, self.token))
        kept = torch.full_like(scores, float("-inf"))
        kept[0, allowed] = scores[0, allowed]
        return kept


def main() -> int:
    """Judge both ways; print the times, their ratio, and the differences of the judgements."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description="Time scoring.")
    parser.add_argument("--clips", type=int, default=64, metavar="N", help="of val (default: 64)")
    args = parser.parse_args()
    params = load_params(Path("params.yaml"))
    make_deterministic(params.compute)
    store = ClipStore(DATASET)
    videos = [store.video(clip) for clip in read_clips(DATASET, "val")[: args.clips]]
    plain, plain_seconds = _judge(_reward_model(params, plain=True), videos, batch_size=1)
    fast_model = _reward_model(params, plain=False)
    fast, seconds = _judge(fast_model, videos, params.evaluation.batch_size)
    pairs = list(zip(plain, fast, strict=True))
    verdicts = sum(one.verdict != other.verdict for one, other in pairs)
    difference = max(abs(fast_model.score(one) - fast_model.score(other)) for one, other in pairs)
    print(f"plain loop          {plain_seconds:.3f} s a clip")
    print(f"RewardModel.judge   {seconds:.3f} s a clip, batch size {params.evaluation.batch_size}")
    print(f"ratio               {plain_seconds / seconds:.1f}")
    print(f"verdicts that differ {verdicts} of {len(videos)}; largest difference of scores {difference:.1e}")
    return int(verdicts > 0 or difference > LARGEST_DIFFERENCE)


def _reward_model(params: Params, *, plain: bool) -> RewardModel:
    base, processor = load_base(params.model)
    adapter = MODELS / TWO_TURN_GRPO
    model = load_adapter(base, adapter, base_identity(params.model), params.adapter, trainable=plain).eval()
    limit = params.evaluation.max_turn_tokens
    judge = RewardModel(model, processor, params.frames, max_turn_tokens=limit)
    if plain:
        judge.generator = PlainGenerator(model, processor, limit, none_token_id(processor.tokenizer))
    return judge


def _judge(model: RewardModel, videos: Sequence[AnyVideo], batch_size: int) -> tuple[list[Judgement], float]:
    """Return the judgements and the seconds per clip, after a warm-up of two clips."""
    model.judge(videos[:2], batch_size)
    start = time.perf_counter()
    judged = model.judge(videos, batch_size)
    return judged, (time.perf_counter() - start) / len(videos)


if __name__ == "__main__":
    sys.exit(main())
