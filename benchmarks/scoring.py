"""Scoring against the plain loop: how much faster, and are the judgements the same?

    python -m benchmarks.scoring --clips 64

The plain loop is what a tutorial leads to: for each video two calls of `generate`, the adapter beside the base's
weights, the second call reading the whole dialogue anew. `RewardModel.judge` works in batches, goes on from the first
turn's cache and has the adapter merged. Both judge the same clips of val with the last stage's checkpoint, one after
the other in one process; what counts is their ratio. Exit code 1 if a verdict differs, or a score by more than 0.001.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cac.annotations import read_clips
from cac.clip_store import ClipStore
from cac.dialogue import Message
from cac.judgement import Judgement
from cac.layout import DATASET, MODELS, TWO_TURN_GRPO
from cac.model.adapters import load_adapter
from cac.model.generation import Turn, TurnGenerator
from cac.model.loading import base_identity, load_base, make_deterministic
from cac.model.reward_model import RewardModel, none_token_id
from cac.params import Params, load_params
from cac.video import Video

LARGEST_DIFFERENCE = 1e-3


class PlainGenerator(TurnGenerator):
    """A generator that reads every dialogue from its beginning."""

    def go_on(
        self, turn: Turn, rows: list[int], dialogues: list[list[Message]], tools: Sequence[Message] | None
    ) -> Turn:
        """Generate the next message of each dialogue; the turn before is of no use here."""
        return self.begin(dialogues, tools)


def main() -> int:
    """Judge in both ways and print times, their ratio, and how far the judgements differ."""
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
    print(f"RewardModel.judge   {seconds:.3f} s a clip, in batches of {params.evaluation.batch_size}")
    print(f"ratio               {plain_seconds / seconds:.1f}")
    print(f"verdicts that differ {verdicts} of {len(videos)}; largest difference of scores {difference:.1e}")
    return int(verdicts > 0 or difference > LARGEST_DIFFERENCE)


def _reward_model(params: Params, *, plain: bool) -> RewardModel:
    base, processor = load_base(params.model)
    adapter = MODELS / TWO_TURN_GRPO
    model = load_adapter(base, adapter, base_identity(params.model), trainable=plain).eval()
    limit = params.evaluation.max_turn_tokens
    judge = RewardModel(model, processor, params.frames, max_turn_tokens=limit)
    if plain:
        judge.generator = PlainGenerator(model, processor, limit, none_token_id(processor.tokenizer))
    return judge


def _judge(model: RewardModel, videos: Sequence[Video], batch_size: int) -> tuple[list[Judgement], float]:
    """Return the judgements and the seconds a clip, after two clips that warm up."""
    model.judge(videos[:2], batch_size)
    start = time.perf_counter()
    judged = model.judge(videos, batch_size)
    return judged, (time.perf_counter() - start) / len(videos)


if __name__ == "__main__":
    sys.exit(main())
