"""Answers that keep to a grammar: which tokens may come next, which must, and whether the model meant to write them.

What the grammar leaves no choice about is written without asking the model, which reads it together with the next
choice: that saves half of the passes. Where there is a choice, the best token is taken, or one is drawn. The model
still says what it would have written in each place, so it is known whether an answer owes anything to the grammar.
llguidance, which also guides vLLM, does the parsing; this leaves out running the model (`generation.py`) and what the
grammars are (`dialogue_grammar.py`).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

Pick = Callable[[np.ndarray], int]  # from the scores of the tokens that may come next, (tokens,), to the place of one


def best(scores: np.ndarray) -> int:
    """Pick the best token."""
    return int(scores.argmax())


def drawn(temperature: float) -> Pick:
    """Return what draws a token by the softmax of scores / temperature, from PyTorch's own random numbers."""

    def pick(scores: np.ndarray) -> int:
        import torch

        chances = torch.softmax(torch.from_numpy(scores).double() / temperature, dim=0)
        return int(torch.multinomial(chances, 1))

    return pick


class Guide:
    """Grammars over one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        from llguidance.hf import from_tokenizer

        self.end = tokenizer.eos_token_id
        self._words = tokenizer
        self._tokens = from_tokenizer(tokenizer)
        self._compiled = lru_cache(maxsize=512)(self._compile)

    def tag(self, name: str) -> str:
        """Return how a grammar names a token such as `<tool_call>`; text where it is no token of its own."""
        ids = self._words(name, add_special_tokens=False)["input_ids"]
        return f"<[{ids[0]}]>" if len(ids) == 1 else f'"{name}"'

    def answer(self, grammar: str, limit: int, pick: Pick = best) -> "GuidedAnswer":
        """Begin an answer of at most `limit` tokens."""
        return GuidedAnswer(self.matcher(grammar), self.end, limit, pick)

    def matcher(self, grammar: str) -> Any:
        """Return a matcher at the beginning of a grammar (an `LLMatcher`).

        Raises:
            ValueError: the grammar is none.
        """
        return self._compiled(grammar).deep_copy()

    def _compile(self, grammar: str) -> Any:
        from llguidance import LLMatcher

        matcher = LLMatcher(self._tokens, grammar)
        if matcher.is_error():
            raise ValueError(f"the grammar does not compile: {matcher.get_error()}\n{grammar}")
        return matcher


def allowed_tokens(matcher: Any) -> np.ndarray:
    """Return the tokens that may come next, ascending."""
    bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(bits, bitorder="little"))


class GuidedAnswer:
    """One answer while it is written.

    Attributes:
        tokens: what is written so far, without an end token.
        unread: those of them that the model has not read yet; none once the answer is whole or as long as it may be.
        unaided: whether the model would have written all of it by itself, the end included.
        watched: for each token but the unread ones after the first, what `go_on` was given for its place.
    """

    def __init__(self, matcher: Any, end: int, limit: int, pick: Pick) -> None:
        self.tokens: list[int] = []
        self.unread: list[int] = []
        self.unaided = True
        self.watched: list[float] = []
        self._matcher, self._end, self._limit, self._pick = matcher, end, limit, pick

    @property
    def places(self) -> int:
        """After how many tokens the model is to say next what it means: the prompt's last one, then each unread one."""
        return len(self.unread) if self.tokens else 1

    def go_on(self, meant: list[int], watched: list[float], scores: np.ndarray) -> None:
        """Write on after the model has read what was unread (at first: the prompt).

        Args:
            meant: the token that the model would have written after each token it has read.
            watched: a figure for each of these places, kept as it is.
            scores: of each token of the vocabulary, to come next: (vocabulary,).
        """
        written = self._write(scores)
        follow = [*self.unread[1:], *(written or [self._end])]
        self.unaided = self.unaided and meant == follow[: len(meant)]
        self.watched += watched
        self.unread = written

    def _write(self, scores: np.ndarray) -> list[int]:
        """Write one of the tokens that may come next, and those that must."""
        room = self._limit - len(self.tokens)
        if self._matcher.is_stopped() or room == 0:
            return []
        written = self._forced() or [self._chosen(scores), *self._forced()]
        self.tokens += written[:room]
        return written[:room]

    def _forced(self) -> list[int]:
        tokens = self._matcher.compute_ff_tokens()
        self._matcher.consume_tokens(tokens)
        return tokens

    def _chosen(self, scores: np.ndarray) -> int:
        allowed = allowed_tokens(self._matcher)
        chosen = int(allowed[self._pick(scores[allowed])])
        self._matcher.consume_token(chosen)
        return chosen
