"""The tokens of a dialogue that stand for images, which a policy must never write: they would be taken for images."""

from typing import Any

FORBIDDEN_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")


def forbidden_token_ids(tokenizer: Any) -> list[int]:
    """Return the ids of these tokens."""
    return tokenizer.convert_tokens_to_ids(list(FORBIDDEN_TOKENS))
