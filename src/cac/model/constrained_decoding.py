"""Constrained decoding: answers follow a grammar, and each answer records whether the model needed it.

Tokens that the grammar forces are appended without a forward pass; the model reads them together with the next free
choice, which halves the number of passes. At a free choice a `TokenSampler` picks among the allowed tokens, and the
probability of one watched token among them is recorded: forced tokens have none, so no score can contain them. The
model's own greedy token at each position is still compared with the answer, so `unaided` says whether the model would
have written the same without a grammar. llguidance, which vLLM uses too, parses the grammars. Out of scope: running the
model (`generation.py`) and the grammars themselves (`schema/dialogue_grammar.py`).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

TokenSampler = Callable[[np.ndarray], int]  # scores of the allowed tokens, (tokens,) -> index into them


def greedy(scores: np.ndarray) -> int:
    """Pick the token with the highest score."""
    return int(scores.argmax())


def multinomial(temperature: float) -> TokenSampler:
    """Return a sampler that draws from softmax(scores / temperature) with PyTorch's global random generator."""

    def sample(scores: np.ndarray) -> int:
        import torch

        probabilities = torch.softmax(torch.from_numpy(scores).double() / temperature, dim=0)
        return int(torch.multinomial(probabilities, 1))

    return sample


class GrammarDecoder:
    """Compiles grammars for one tokenizer and starts answers that follow them."""

    def __init__(self, tokenizer: Any) -> None:
        from llguidance.hf import from_tokenizer

        self.end = tokenizer.eos_token_id
        self._tokenizer = tokenizer
        self._grammar_tokenizer = from_tokenizer(tokenizer)
        self._compiled = lru_cache(maxsize=512)(self._compile)

    def tag(self, name: str) -> str:
        """Return how a grammar writes a tag such as `<tool_call>`: a token, or text if it is not a single token."""
        ids = self._tokenizer(name, add_special_tokens=False)["input_ids"]
        return f"<[{ids[0]}]>" if len(ids) == 1 else f'"{name}"'

    def answer(
        self, grammar: str, limit: int, sampler: TokenSampler = greedy, watched_token: int | None = None
    ) -> "ConstrainedAnswer":
        """Start an answer of at most `limit` tokens."""
        return ConstrainedAnswer(self.matcher(grammar), self.end, limit, sampler, watched_token)

    def matcher(self, grammar: str) -> Any:
        """Return a matcher (an `LLMatcher`) at the start of a grammar.

        Raises:
            ValueError: the grammar is invalid.
        """
        return self._compiled(grammar).deep_copy()

    def _compile(self, grammar: str) -> Any:
        from llguidance import LLMatcher

        matcher = LLMatcher(self._grammar_tokenizer, grammar)
        if matcher.is_error():
            raise ValueError(f"the grammar does not compile: {matcher.get_error()}\n{grammar}")
        return matcher


def allowed_tokens(matcher: Any) -> np.ndarray:
    """Return the ids of the tokens that may come next, ascending."""
    bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(bits, bitorder="little"))


def choice_log_probability(scores: np.ndarray, allowed: np.ndarray, token: int | None) -> float | None:
    """Return the log-probability of a token among the allowed ones; None if it is not one of several.

    Args:
        scores: the logit of every token: (vocabulary,).
        allowed: the ids of the allowed tokens.
        token: the id of the token; None returns None.
    """
    places = np.flatnonzero(allowed == token)
    if len(allowed) < 2 or not len(places):
        return None
    own = scores[allowed].astype(np.float64)
    return float(own[places[0]] - np.logaddexp.reduce(own))


class ConstrainedAnswer:
    """One answer while it is being generated.

    Attributes:
        tokens: the tokens so far, without an end token.
        unread: the last of them, which the model has not read yet; empty once the answer is complete or at its limit.
        unaided: whether the model's greedy tokens are the answer so far, the end included.
        watched: for each token, the log-probability of the watched token among the allowed ones at that position;
            None if the token was forced, or if the watched token was not allowed.
    """

    def __init__(
        self, matcher: Any, end: int, limit: int, sampler: TokenSampler, watched_token: int | None = None
    ) -> None:
        self.tokens: list[int] = []
        self.unread: list[int] = []
        self.unaided = True
        self.watched: list[float | None] = []
        self._matcher, self._end, self._limit, self._sampler = matcher, end, limit, sampler
        self._watched_token = watched_token

    @property
    def positions(self) -> int:
        """How many positions `extend` needs predictions for: after the prompt, then after each unread token."""
        return len(self.unread) if self.tokens else 1

    def extend(self, predicted: list[int], scores: np.ndarray) -> None:
        """Append tokens after the model has read the unread ones (at first: the prompt).

        Args:
            predicted: the model's greedy token after each token it has read.
            scores: the logit of every token as the next one: (vocabulary,).
        """
        appended = self._append(scores)
        expected = [*self.unread[1:], *(appended or [self._end])]
        self.unaided = self.unaided and predicted == expected[: len(predicted)]
        self.unread = appended

    def _append(self, scores: np.ndarray) -> list[int]:
        """Append one chosen token, if none is forced, and the forced ones; return them."""
        remaining = self._limit - len(self.tokens)
        if self._matcher.is_stopped() or remaining == 0:
            return []
        appended = self._forced()
        if not appended:
            chosen, watched = self._choose(scores)
            appended = [chosen, *self._forced()]
            self.watched.append(watched)
        self.tokens += appended[:remaining]
        self.watched += [None] * (len(self.tokens) - len(self.watched))
        return appended[:remaining]

    def _forced(self) -> list[int]:
        tokens: list[int] = self._matcher.compute_ff_tokens()
        self._matcher.consume_tokens(tokens)
        return tokens

    def _choose(self, scores: np.ndarray) -> tuple[int, float | None]:
        allowed = allowed_tokens(self._matcher)
        chosen = int(allowed[self._sampler(scores[allowed])])
        self._matcher.consume_token(chosen)
        return chosen, choice_log_probability(scores, allowed, self._watched_token)
