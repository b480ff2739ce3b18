"""Batched generation of dialogue turns under a grammar, with key/value cache reuse between turns.

The second turn reuses the cache of the first, so only the new part of each dialogue (mostly its dense frames) is
encoded. Answers differ in length, so some columns of the cache are empty for some rows; the attention mask and the
position ids skip them. Out of scope: what an answer means (`reward_model.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cac.model.adapters import forbidden_token_ids, without_wrapper
from cac.model.constrained_decoding import ConstrainedAnswer, GrammarDecoder, TokenSampler, greedy
from cac.schema.dialogue import Message

IMAGE_END = "<|vision_end|>"


@dataclass(frozen=True)
class Turn:
    """The answers of one turn, and the cache that the next turn continues from.

    Attributes:
        answers: the generated tokens of each row, without the end token.
        watched: for each row and token, the log-probability of the watched token at that position among the allowed
            ones; None where the grammar left no choice or did not allow it.
        unaided: for each row, whether the model would have written the same without a grammar.
        cache: the cached dialogues; None after the last turn.
    """

    answers: list[list[int]]
    watched: list[list[float | None]]
    unaided: list[bool]
    cache: "_DialogueCache | None"


@dataclass(frozen=True)
class _DialogueCache:
    """The dialogues of a batch as far as the model has read them.

    Attributes:
        key_values: the keys and values of `ids`.
        ids: the tokens in the cache: (rows, columns).
        mask: whether a column is part of the row's dialogue: (rows, columns), bool.
        rope_deltas: position id less token index of each row's next token, as Qwen3-VL calls it: (rows, 1).
    """

    key_values: Any
    ids: Any
    mask: Any
    rope_deltas: Any

    def select_rows(self, rows: Any) -> "_DialogueCache":
        """Return the cache of some rows. Changes the keys and values in place, so this one is unusable afterwards."""
        self.key_values.batch_select_indices(rows)
        return _DialogueCache(self.key_values, self.ids[rows], self.mask[rows], self.rope_deltas[rows])

    def repeat_rows(self, copies: int) -> "_DialogueCache":
        """Return the cache with each row repeated `copies` times in a row."""
        import torch

        if copies == 1:
            return self
        return self.select_rows(torch.arange(len(self.ids), device=self.ids.device).repeat_interleave(copies))

    def append_columns(self, tokens: Any, is_token: Any) -> "_DialogueCache":
        """Return the cache with columns that the model is about to read."""
        import torch

        ids, mask = torch.cat([self.ids, tokens], dim=1), torch.cat([self.mask, is_token], dim=1)
        return _DialogueCache(self.key_values, ids, mask, self.rope_deltas)


class TurnGenerator:
    """Generates turns of dialogues with one model.

    Args:
        model: the model, with or without a merged adapter.
        processor: its processor.
        max_turn_tokens: the maximum length of an answer.
        watched_token: the token whose log-probability is recorded where the grammar allows it; None records nothing.
        sampler: picks a token where the grammar allows several.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        max_turn_tokens: int,
        watched_token: int | None,
        sampler: TokenSampler = greedy,
    ) -> None:
        self.model = model
        self.processor = processor
        self.max_turn_tokens = max_turn_tokens
        self.watched_token = watched_token
        self.sampler = sampler
        self.decoder = GrammarDecoder(processor.tokenizer)
        self._forbidden = forbidden_token_ids(processor.tokenizer)

    def first_turn(
        self,
        dialogues: list[list[Message]],
        grammars: list[str],
        tools: Sequence[Message] | None,
        *,
        last: bool = False,
        copies: int = 1,
    ) -> Turn:
        """Generate the next assistant message of each dialogue under its grammar.

        Args:
            dialogues: the messages so far of each dialogue.
            grammars: the grammar of each answer.
            tools: the tools offered in the prompt.
            last: no turn follows. Faster, because finished rows leave the batch.
            copies: answers per dialogue, in consecutive rows; each dialogue is encoded once.
        """
        import torch

        with torch.inference_mode():
            return self.generate_from_tokens(self._encode(dialogues, tools), grammars, last=last, copies=copies)

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
        """Generate the next message of some rows of a turn, whose cache is consumed.

        Args:
            turn: the previous turn, generated without `last`.
            rows: the rows to continue.
            dialogues: their complete dialogues, the answers of `turn` and the replies to them included.
            grammars: the grammar of each answer.
            tools: as in the previous turn.
            last: as in `first_turn`.
        """
        import torch

        assert turn.cache, "the last turn keeps no cache to continue from"
        cache = turn.cache.select_rows(torch.tensor(rows, device=self.model.device))
        batch = self._encode(dialogues, tools)
        prefixes = _cached_prefix_lengths(cache, batch)
        images = self._encode_new_images(batch, prefixes)
        batch = _align_with_cache(batch, cache.mask, prefixes)
        with torch.inference_mode():
            return self._generate({**batch, "mm_encoder_outputs": {"image": images}}, grammars, cache.key_values, last)

    def generate_from_tokens(
        self, batch: dict[str, Any], grammars: list[str], *, last: bool = False, copies: int = 1
    ) -> Turn:
        """Generate the next message of dialogues that are tokens and pixels already, as the processor returns them."""
        from cac.model.patches.transformers_kv_cache import preallocated_cache

        return self._generate(dict(batch), grammars, preallocated_cache(), last, copies)

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

    def _encode_new_images(self, batch: dict[str, Any], prefixes: list[int]) -> Any:
        """Encode the images after each row's cached prefix, and remove the pixels from the batch."""
        import torch

        end = self.processor.tokenizer.convert_tokens_to_ids(IMAGE_END)
        is_new: list[bool] = []
        for row, prefix in zip(_tokens(batch), prefixes, strict=True):
            images = int((row == end).sum())
            old = int((row[:prefix] == end).sum())
            is_new += [False] * old + [True] * (images - old)
        chosen = torch.tensor(is_new, device=self.model.device)
        grids = batch["image_grid_thw"]
        pixels = batch.pop("pixel_values")[chosen.repeat_interleave(grids.prod(dim=1))]
        with torch.inference_mode():
            return self.model.get_image_features(pixels, grids[chosen], return_dict=True)

    def _generate(
        self, batch: dict[str, Any], grammars: list[str], key_values: Any, last: bool, copies: int = 1
    ) -> Turn:
        grammars = [grammar for grammar in grammars for _ in range(copies)]
        limit, watched = self.max_turn_tokens, self.watched_token
        answers = [self.decoder.answer(grammar, limit, self.sampler, watched) for grammar in grammars]
        ids, mask = batch.pop("input_ids"), batch.pop("attention_mask").bool()
        positions, rope_deltas = self._positions(ids, mask, batch)
        read = key_values.get_seq_length()
        inputs = {"input_ids": ids[:, read:], "position_ids": positions[:, :, read:], "logits_to_keep": 1}
        cache = _DialogueCache(key_values, ids, mask, rope_deltas)
        self._forward(answers, {**batch, **inputs}, cache, copies)
        cache = cache.repeat_rows(copies)
        active = answers
        while any(answer.unread for answer in active):
            if last:
                active, cache = _drop_finished(active, cache)
            tokens, is_token = self._unread(active)
            cache = cache.append_columns(tokens, is_token)
            places = (cache.mask.cumsum(dim=1) - 1)[:, -tokens.shape[1] :].clamp(min=0) + cache.rope_deltas
            inputs = {"input_ids": tokens, "position_ids": places.expand(3, -1, -1)}
            self._forward(active, inputs, cache)
        return Turn(
            [answer.tokens for answer in answers],
            [answer.watched for answer in answers],
            [answer.unaided for answer in answers],
            None if last else cache,
        )

    def _positions(self, ids: Any, mask: Any, batch: dict[str, Any]) -> tuple[Any, Any]:
        """Return Qwen3-VL's position ids, (3, rows, columns), and rope deltas, (rows, 1)."""
        positions, rope_deltas = without_wrapper(self.model).model.get_rope_index(
            ids,
            attention_mask=mask,
            mm_token_type_ids=batch.pop("mm_token_type_ids"),
            image_grid_thw=batch["image_grid_thw"],
        )
        return positions, rope_deltas

    def _unread(self, answers: list[ConstrainedAnswer]) -> tuple[Any, Any]:
        """Return the unread tokens, left-padded, and the mask of real tokens: (rows, columns) each."""
        import torch

        width = max(len(answer.unread) for answer in answers)
        padding = self.processor.tokenizer.pad_token_id
        rows = [[padding] * (width - len(answer.unread)) + answer.unread for answer in answers]
        tokens = torch.tensor(rows, device=self.model.device)
        starts = torch.tensor([width - len(answer.unread) for answer in answers], device=self.model.device)
        return tokens, torch.arange(width, device=self.model.device) >= starts[:, None]

    def _forward(
        self, answers: list[ConstrainedAnswer], inputs: dict[str, Any], cache: _DialogueCache, copies: int = 1
    ) -> None:
        """Run the model once and extend every unfinished answer; `copies` consecutive answers belong to one row."""
        read = {"attention_mask": cache.mask.long(), "past_key_values": cache.key_values, "use_cache": True}
        logits = self.model(**inputs, **read).logits.float().repeat_interleave(copies, dim=0)
        logits[..., self._forbidden] = float("-inf")
        predicted = logits.argmax(dim=-1).tolist()
        scores = logits[:, -1].cpu().numpy()
        for row, answer in enumerate(answers):
            if answer.positions:
                answer.extend(predicted[row][-answer.positions :], scores[row])


def _drop_finished(
    answers: list[ConstrainedAnswer], cache: _DialogueCache
) -> tuple[list[ConstrainedAnswer], _DialogueCache]:
    """Remove finished rows once they are a quarter of the batch; more often is not worth a forward pass's time."""
    import torch

    rows = [row for row, answer in enumerate(answers) if answer.unread]
    if len(rows) > 3 / 4 * len(answers):
        return answers, cache
    return [answers[row] for row in rows], cache.select_rows(torch.tensor(rows, device=cache.ids.device))


def _tokens(batch: dict[str, Any]) -> list[Any]:
    """Return each row's tokens without padding."""
    return [ids[mask.bool()] for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]


def _cached_prefix_lengths(cache: _DialogueCache, batch: dict[str, Any]) -> list[int]:
    """Return how many leading tokens of each row's dialogue are in the cache.

    The text of an answer may tokenise differently from how it was generated; the cache is valid up to that point.
    """
    lengths = []
    for row, mask, dialogue in zip(cache.ids, cache.mask, _tokens(batch), strict=True):
        cached = row[mask]
        both = min(len(cached), len(dialogue) - 1)
        same = (cached[:both] == dialogue[:both]).int()
        lengths.append(int(same.cumprod(dim=0).sum()))
    return lengths


def _align_with_cache(batch: dict[str, Any], cached: Any, prefixes: list[int]) -> dict[str, Any]:
    """Rearrange a batch: each row's cached prefix in the cache's columns, the rest of the row right-aligned.

    Args:
        batch: as `_encode` returns it.
        cached: the mask of the cache: (rows, columns).
        prefixes: the number of cached tokens of each row.
    """
    import torch

    old, mask = cached.shape[1], batch["attention_mask"].bool()
    new = max(int(row.sum()) - prefix for row, prefix in zip(mask, prefixes, strict=True))
    aligned = {
        name: batch[name].new_zeros((len(prefixes), old + new))
        for name in ("input_ids", "attention_mask", "mm_token_type_ids")
    }
    for i, prefix in enumerate(prefixes):
        rest = int(mask[i].sum()) - prefix
        columns = torch.cat(
            [cached[i].nonzero()[:prefix, 0], torch.arange(old + new - rest, old + new, device=cached.device)]
        )
        for name, values in aligned.items():
            values[i, columns] = batch[name][i, mask[i]]
    return {**aligned, "image_grid_thw": batch["image_grid_thw"]}
