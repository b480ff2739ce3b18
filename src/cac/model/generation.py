"""Generating the assistant's messages of a batch of dialogues, turn after turn, greedily.

A later turn reuses the key/value cache of the one before it: only what is new in a dialogue, mostly its new frames,
is encoded. Rows end their answers at different lengths, so between turns the cache has columns that hold nothing for a
row; the attention mask leaves them out, and the positions count past them. What an answer means is
`reward_model.py`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cac.dialogue import Message

FORBIDDEN_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
IMAGE_END = "<|vision_end|>"


def forbidden_token_ids(tokenizer: Any) -> list[int]:
    """Return the vision tokens that a policy must never write: they would be taken for images."""
    return tokenizer.convert_tokens_to_ids(list(FORBIDDEN_TOKENS))


@dataclass(frozen=True)
class Turn:
    """What one turn gave for each row, and what the next one goes on from.

    Attributes:
        answers: the generated tokens of each row, without the end token and what comes after it.
        watched: for each row, the log-probability of the watched token at each of these tokens.
        cache: keys and values of `ids`.
        ids: the tokens in the cache: (rows, columns).
        holds: whether a column is part of the row's dialogue: (rows, columns), bool.
    """

    answers: list[list[int]]
    watched: list[list[float]]
    cache: Any
    ids: Any
    holds: Any


class TurnGenerator:
    """A model and its processor, and how long a turn may be."""

    def __init__(self, model: Any, processor: Any, max_turn_tokens: int, watched_token: int) -> None:
        self.model = model
        self.processor = processor
        self.max_turn_tokens = max_turn_tokens
        self.watched_token = watched_token

    def begin(self, dialogues: list[list[Message]], tools: Sequence[Message] | None) -> Turn:
        """Generate the next assistant message of each dialogue."""
        from cac.model.roomy_cache import roomy_cache

        return self._generate(self._encode(dialogues, tools), past_key_values=roomy_cache())

    def go_on(
        self, turn: Turn, rows: list[int], dialogues: list[list[Message]], tools: Sequence[Message] | None
    ) -> Turn:
        """Generate the next message of those rows of a turn that have a dialogue; the turn's cache is used up.

        Args:
            turn: the turn before.
            rows: which of its rows go on.
            dialogues: their whole dialogues, the answers of `turn` and what was said to them included.
            tools: as in the turn before.
        """
        import torch

        chosen = torch.tensor(rows, device=turn.ids.device)
        turn.cache.batch_select_indices(chosen)
        batch = self._encode(dialogues, tools)
        kept = _shared_lengths(turn.ids[chosen], turn.holds[chosen], batch)
        images = self._new_images(batch, kept)
        batch = _behind_cache(batch, turn.holds[chosen], kept)
        return self._generate(batch, past_key_values=turn.cache, mm_encoder_outputs={"image": images})

    def _encode(self, dialogues: list[list[Message]], tools: Sequence[Message] | None) -> dict[str, Any]:
        batch = self.processor.apply_chat_template(
            dialogues,
            tools=list(tools) if tools else None,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "padding_side": "left"},
        )
        return dict(batch.to(self.model.device))

    def _new_images(self, batch: dict[str, Any], kept: list[int]) -> Any:
        """Encode the images behind the first `kept` tokens of each row, and take the pixels out of the batch."""
        import torch

        end = self.processor.tokenizer.convert_tokens_to_ids(IMAGE_END)
        is_new: list[bool] = []
        for row, known in zip(_tokens(batch), kept, strict=True):
            images = int((row == end).sum())
            old = int((row[:known] == end).sum())
            is_new += [False] * old + [True] * (images - old)
        chosen = torch.tensor(is_new, device=self.model.device)
        grids = batch["image_grid_thw"]
        pixels = batch.pop("pixel_values")[chosen.repeat_interleave(grids.prod(dim=1))]
        with torch.inference_mode():
            return self.model.get_image_features(pixels, grids[chosen], return_dict=True)

    def _generate(self, batch: dict[str, Any], **state: Any) -> Turn:
        import torch
        from transformers import LogitsProcessorList

        tokenizer = self.processor.tokenizer
        watch = _TokenWatch(self.watched_token)
        with torch.inference_mode():
            output = self.model.generate(
                **batch,
                **state,
                do_sample=False,
                max_new_tokens=self.max_turn_tokens,
                suppress_tokens=forbidden_token_ids(tokenizer),
                logits_processor=LogitsProcessorList([watch]),
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                return_dict_in_generate=True,
            )
        prompt = batch["input_ids"].shape[1]
        generated = output.sequences[:, prompt:]
        ends = (generated == tokenizer.eos_token_id).int()
        written = ends.cumsum(dim=1) - ends == 0  # up to the end token, which is part of the dialogue
        answers = [row[keep].tolist() for row, keep in zip(generated, written & (ends == 0), strict=True)]
        watched = [[step[i] for step in watch.steps[: len(answer)]] for i, answer in enumerate(answers)]
        columns = output.past_key_values.get_seq_length()
        holds = torch.cat([batch["attention_mask"].bool(), written], dim=1)[:, :columns]
        return Turn(answers, watched, output.past_key_values, output.sequences[:, :columns], holds)


class _TokenWatch:
    """A logits processor that changes nothing and keeps, step by step, the log-probability of one token in each row."""

    def __init__(self, token: int) -> None:
        self.token = token
        self.steps: list[list[float]] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self.steps.append(scores.log_softmax(dim=-1)[:, self.token].tolist())
        return scores


def _tokens(batch: dict[str, Any]) -> list[Any]:
    """Return each row's tokens without padding."""
    return [ids[mask.bool()] for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]


def _shared_lengths(ids: Any, holds: Any, batch: dict[str, Any]) -> list[int]:
    """Return how many tokens at the beginning of each row's dialogue are in the cache.

    An answer's text may be written in other tokens than it was generated in; then the cache is good up to there.
    """
    lengths = []
    for row, held, dialogue in zip(ids, holds, _tokens(batch), strict=True):
        cached = row[held]
        both = min(len(cached), len(dialogue) - 1)
        same = (cached[:both] == dialogue[:both]).int()
        lengths.append(int(same.cumprod(dim=0).sum()))
    return lengths


def _behind_cache(batch: dict[str, Any], holds: Any, kept: list[int]) -> dict[str, Any]:
    """Lay a batch out anew: of each row the first `kept` tokens on the cache's columns, the rest at the far right."""
    import torch

    old, mask = holds.shape[1], batch["attention_mask"].bool()
    new = max(int(row.sum()) - known for row, known in zip(mask, kept, strict=True))
    laid = {
        name: batch[name].new_zeros((len(kept), old + new))
        for name in ("input_ids", "attention_mask", "mm_token_type_ids")
    }
    for i, known in enumerate(kept):
        behind = int(mask[i].sum()) - known
        columns = torch.cat([holds[i].nonzero()[:known, 0], torch.arange(old + new - behind, old + new)])
        for name, values in laid.items():
            values[i, columns] = batch[name][i, mask[i]]
    return {**laid, "image_grid_thw": batch["image_grid_thw"]}
