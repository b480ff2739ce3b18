"""Generating the assistant's messages of a batch of dialogues, turn after turn, each kept to its grammar.

A later turn reuses the key/value cache of the one before it: only what is new in a dialogue, mostly its new frames,
is encoded. Rows end their answers at different lengths, so between turns the cache has columns that hold nothing for a
row; the attention mask leaves them out, and the positions count past them. What an answer means is
`reward_model.py`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cac.model.adapters import forbidden_token_ids, without_wrapper
from cac.model.constrained_decoding import Guide, GuidedAnswer, Pick, best
from cac.schema.dialogue import Message

IMAGE_END = "<|vision_end|>"


@dataclass(frozen=True)
class Turn:
    """What one turn gave for each row, and what the next one goes on from.

    Attributes:
        answers: the generated tokens of each row, without the end token.
        watched: for each row, the log-probability of the watched token in the place of each of these tokens.
        unaided: for each row, whether the model would have written the same without a grammar.
        memory: what the model has read so far; None after a last turn.
    """

    answers: list[list[int]]
    watched: list[list[float]]
    unaided: list[bool]
    memory: "_Memory | None"


@dataclass(frozen=True)
class _Memory:
    """What the model has read of each dialogue of a batch.

    Attributes:
        cache: keys and values of `ids`.
        ids: the tokens in the cache: (rows, columns).
        holds: whether a column is part of the row's dialogue: (rows, columns), bool.
        offsets: how far the rows' places are off a count of their tokens: (rows, 1).
    """

    cache: Any
    ids: Any
    holds: Any
    offsets: Any

    def rows(self, chosen: Any) -> "_Memory":
        """Return what is read of some rows; the cache of all of them is used up."""
        self.cache.batch_select_indices(chosen)
        return _Memory(self.cache, self.ids[chosen], self.holds[chosen], self.offsets[chosen])

    def copied(self, copies: int) -> "_Memory":
        """Return it with each row as often as said, one after another."""
        import torch

        if copies == 1:
            return self
        return self.rows(torch.arange(len(self.ids), device=self.ids.device).repeat_interleave(copies))

    def with_tokens(self, tokens: Any, is_token: Any) -> "_Memory":
        """Return it with columns that the model is about to read."""
        import torch

        ids, holds = torch.cat([self.ids, tokens], dim=1), torch.cat([self.holds, is_token], dim=1)
        return _Memory(self.cache, ids, holds, self.offsets)


class TurnGenerator:
    """A model and its processor, how long a turn may be, the token whose probability is watched, and who chooses."""

    def __init__(self, model: Any, processor: Any, max_turn_tokens: int, watched_token: int, pick: Pick = best) -> None:
        self.model = model
        self.processor = processor
        self.max_turn_tokens = max_turn_tokens
        self.watched_token = watched_token
        self.pick = pick
        self.guide = Guide(processor.tokenizer)
        self._forbidden = forbidden_token_ids(processor.tokenizer)

    def begin(
        self,
        dialogues: list[list[Message]],
        grammars: list[str],
        tools: Sequence[Message] | None,
        *,
        last: bool = False,
        copies: int = 1,
    ) -> Turn:
        """Generate the next assistant message of each dialogue, each in its grammar.

        After a `last` turn none can go on; it is faster, because rows leave the batch when they are done. With `copies`
        each dialogue is read once and gets so many answers, in rows that follow one another.
        """
        import torch

        with torch.inference_mode():
            return self.answer(self._encode(dialogues, tools), grammars, last=last, copies=copies)

    def go_on(
        self,
        turn: Turn,
        rows: list[int],
        dialogues: list[list[Message]],
        grammars: list[str],
        tools: Sequence[Message] | None,
        *,
        last: bool = False,
    ) -> Turn:
        """Generate the next message of those rows of a turn that have a dialogue; the turn's memory is used up.

        Args:
            turn: the turn before, not a last one.
            rows: which of its rows go on.
            dialogues: their whole dialogues, the answers of `turn` and what was said to them included.
            grammars: the grammar of each answer.
            tools: as in the turn before.
            last: as in `begin`.
        """
        import torch

        assert turn.memory, "nothing goes on from a last turn"
        memory = turn.memory.rows(torch.tensor(rows, device=self.model.device))
        batch = self._encode(dialogues, tools)
        kept = _shared_lengths(memory, batch)
        images = self._new_images(batch, kept)
        batch = _behind_cache(batch, memory.holds, kept)
        with torch.inference_mode():
            return self._generate({**batch, "mm_encoder_outputs": {"image": images}}, grammars, memory.cache, last)

    def answer(self, batch: dict[str, Any], grammars: list[str], *, last: bool = False, copies: int = 1) -> Turn:
        """Generate the next message of dialogues that are tokens and pixels already, as the processor returns them."""
        from cac.model.patches.transformers_kv_cache import roomy_cache

        return self._generate(dict(batch), grammars, roomy_cache(), last, copies)

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

    def _generate(self, batch: dict[str, Any], grammars: list[str], cache: Any, last: bool, copies: int = 1) -> Turn:
        grammars = [grammar for grammar in grammars for _ in range(copies)]
        answers = [self.guide.answer(grammar, self.max_turn_tokens, self.pick) for grammar in grammars]
        ids, holds = batch.pop("input_ids"), batch.pop("attention_mask").bool()
        positions, offsets = self._positions(ids, holds, batch)
        known = cache.get_seq_length()
        inputs = {"input_ids": ids[:, known:], "position_ids": positions[:, :, known:], "logits_to_keep": 1}
        memory = _Memory(cache, ids, holds, offsets)
        self._advance(answers, {**batch, **inputs}, memory, copies)
        memory = memory.copied(copies)
        writing = answers
        while any(answer.unread for answer in writing):
            if last:
                writing, memory = _without_the_done(writing, memory)
            tokens, is_token = self._unread(writing)
            memory = memory.with_tokens(tokens, is_token)
            places = (memory.holds.cumsum(dim=1) - 1)[:, -tokens.shape[1] :].clamp(min=0) + memory.offsets
            inputs = {"input_ids": tokens, "position_ids": places.expand(3, -1, -1)}
            self._advance(writing, inputs, memory)
        watched = [answer.watched[: len(answer.tokens)] for answer in answers]
        unaided = [answer.unaided for answer in answers]
        return Turn([answer.tokens for answer in answers], watched, unaided, None if last else memory)

    def _positions(self, ids: Any, holds: Any, batch: dict[str, Any]) -> tuple[Any, Any]:
        """Return Qwen3-VL's places of the tokens, (3, rows, columns), and how far they are off a count: (rows, 1)."""
        return without_wrapper(self.model).model.get_rope_index(
            ids,
            attention_mask=holds,
            mm_token_type_ids=batch.pop("mm_token_type_ids"),
            image_grid_thw=batch["image_grid_thw"],
        )

    def _unread(self, answers: list[GuidedAnswer]) -> tuple[Any, Any]:
        """Lay out what the model has not read, to the right: the tokens, and where there are any: (rows, columns)."""
        import torch

        width = max(len(answer.unread) for answer in answers)
        padding = self.processor.tokenizer.pad_token_id
        rows = [[padding] * (width - len(answer.unread)) + answer.unread for answer in answers]
        tokens = torch.tensor(rows, device=self.model.device)
        starts = torch.tensor([width - len(answer.unread) for answer in answers], device=self.model.device)
        return tokens, torch.arange(width, device=self.model.device) >= starts[:, None]

    def _advance(self, answers: list[GuidedAnswer], inputs: dict[str, Any], memory: _Memory, copies: int = 1) -> None:
        """Let the model read, and each answer that is not whole go on; `copies` answers after one another to a row."""
        known = {"attention_mask": memory.holds.long(), "past_key_values": memory.cache, "use_cache": True}
        logits = self.model(**inputs, **known).logits.float().repeat_interleave(copies, dim=0)
        logits[..., self._forbidden] = float("-inf")
        meant = logits.argmax(dim=-1).tolist()
        watched = logits.log_softmax(dim=-1)[..., self.watched_token].tolist()
        scores = logits[:, -1].cpu().numpy()
        for row, answer in enumerate(answers):
            if answer.places:
                last = slice(-answer.places, None)
                answer.go_on(meant[row][last], watched[row][last], scores[row])


def _without_the_done(answers: list[GuidedAnswer], memory: _Memory) -> tuple[list[GuidedAnswer], _Memory]:
    """Take the rows that are done out of a batch once they are a quarter: it costs as much as a step of the model."""
    import torch

    rows = [row for row, answer in enumerate(answers) if answer.unread]
    if len(rows) > 3 / 4 * len(answers):
        return answers, memory
    return [answers[row] for row in rows], memory.rows(torch.tensor(rows, device=memory.ids.device))


def _tokens(batch: dict[str, Any]) -> list[Any]:
    """Return each row's tokens without padding."""
    return [ids[mask.bool()] for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]


def _shared_lengths(memory: _Memory, batch: dict[str, Any]) -> list[int]:
    """Return how many tokens at the beginning of each row's dialogue are in the cache.

    An answer's text may be written in other tokens than it was generated in; then the cache is good up to there.
    """
    lengths = []
    for row, held, dialogue in zip(memory.ids, memory.holds, _tokens(batch), strict=True):
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
        columns = torch.cat(
            [holds[i].nonzero()[:known, 0], torch.arange(old + new - behind, old + new, device=holds.device)]
        )
        for name, values in laid.items():
            values[i, columns] = batch[name][i, mask[i]]
    return {**laid, "image_grid_thw": batch["image_grid_thw"]}
