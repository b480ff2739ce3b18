"""The nano base model: a Qwen3-VL of about two million parameters with its own tokenizer.

It is the embedded default: small enough that all three stages learn on two CPU cores in minutes, with the classes, chat
template and tool calls of the 2B, 4B and 8B checkpoints. This module defines its architecture and vocabulary;
`scripts/pretrain_nano.py` trains its weights and `loading.py` loads them.

The tokenizer covers all bytes, so it can write any text. The words, numbers and fixed phrases of the dialogue are one
token each, so a dialogue of fourteen frames has fewer than five hundred tokens.
"""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from cac.data.sample.glyphs import WORDS
from cac.data.sample.render import COLOURS, KINDS
from cac.schema.dialogue import CONCENTRATE_TOOL, COORDINATE_SCALE, LOOK_REQUEST, SCAN_REQUEST
from cac.schema.taxonomy import Family

NANO_SCOPE = "scope: the nano has seen drawn scenes only; on any other video its scores mean nothing"

PATCH_SIZE = 8
MERGE_SIZE = 2
LONGEST_TIME = 99  # tenths of a second; 0.0 to 9.9 are one token each

SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
)  # fmt: skip

# The fixed text of Qwen3-VL's chat template around tools, and the fixed text of our dialogue.
_TOOL_PREAMBLE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
)
_TOOL_CALL_HELP = "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
_TOOL_CALL_SHAPE = '{"name": <function-name>, "arguments": <args-json-object>}'
_CALL_OPENING = '{"name": "concentrate", "arguments": {"windows": ['
# Without the last line of each request, whose words are in the vocabulary from the generic tasks.
_REQUESTS = tuple(request.rsplit("\n", 1)[0] for request in (SCAN_REQUEST, LOOK_REQUEST))
PHRASES = (
    *_REQUESTS, _TOOL_PREAMBLE, json.dumps(CONCENTRATE_TOOL), _TOOL_CALL_HELP, " XML tags:\n",
    _TOOL_CALL_SHAPE, _CALL_OPENING, "]}}", ", ", "s>",
)  # fmt: skip

# Words of the generic tasks the base is pretrained on.
GENERIC_WORDS = (
    "system", "user", "assistant", "list", "find", "the", "when", "what", "changes", "is", "seen", "none", "not",
    "read",
    "legs", "count", "at", "word", "changed", "recoloured", "reshaped", "resized", "moved", "hidden", "rewritten",
    "track",
    "wall", "yes", "no", "then", "still", "grown", "all", "left", "right", "high", "low",
)  # fmt: skip
# The leaves of the procedural scenes. The list is fixed, because the shipped weights belong to this vocabulary. The
# names of leaves added to the taxonomy later are tokenised into bytes.
OWN_LEAVES = (
    "extra_limb", "missing_limb", "melted_body", "colour_swap", "vanishing", "shape_morph", "teleport", "size_jump",
    "wall_penetration", "garbled_text", "mirrored_text",
)  # fmt: skip
ANSWER_WORDS = ("clear", "odd", "attribution", "verdict", "clean", "anomalous", *Family, *OWN_LEAVES)


def vocabulary() -> list[str]:
    """Return every text token in order, without bytes and special tokens."""
    words = [*GENERIC_WORDS, *ANSWER_WORDS, *COLOURS, *KINDS, *WORDS]
    letters = [chr(code) for code in range(ord("A"), ord("Z") + 1)]
    tokens = [*PHRASES]
    for word in [*words, *letters, *map(str, range(COORDINATE_SCALE + 1))]:
        tokens += [str(word), f" {word}"]
    tokens += [f"{tenths // 10}.{tenths % 10}" for tenths in range(LONGEST_TIME + 1)]
    return list(dict.fromkeys(tokens))


def build_tokenizer() -> Any:
    """Build the tokenizer (a `PreTrainedTokenizerFast`); every call gives the same vocabulary."""
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_map = bytes_to_unicode()
    tokens = [byte_map[byte] for byte in range(256)]
    tokens += ["".join(byte_map[byte] for byte in text.encode()) for text in vocabulary()]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    # With `ignore_merges` a piece in the vocabulary is one token, and any other is split into bytes.
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=[], ignore_merges=True))
    phrases = "|".join(re.escape(phrase) for phrase in sorted(PHRASES, key=len, reverse=True))
    pattern = Regex(rf"{phrases}|\d+\.\d| ?\d+| ?[A-Za-z_]+|\s|.")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(pattern, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
    fast.add_special_tokens({"additional_special_tokens": [t for t in SPECIAL_TOKENS if t.startswith("<|")]})
    fast.add_tokens([t for t in SPECIAL_TOKENS if not t.startswith("<|")])
    return fast


def build_processor() -> Any:
    """Build the `Qwen3VLProcessor`: our tokenizer, 8-pixel patches, and Qwen3-VL's own chat template."""
    import trl
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    settings: dict[str, Any] = {
        "patch_size": PATCH_SIZE,
        "merge_size": MERGE_SIZE,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": (PATCH_SIZE * MERGE_SIZE) ** 2, "longest_edge": 256**2},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    template = Path(trl.__file__).parent / "chat_templates" / "qwen3_vl.jinja"
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**settings),
        tokenizer=build_tokenizer(),
        video_processor=Qwen3VLVideoProcessor(**settings),
        chat_template=template.read_text(encoding="utf-8"),
    )


def build_config(tokenizer: Any, initializer_range: float = 0.02) -> Any:
    """Return the `Qwen3VLConfig` of the nano; `initializer_range` is the standard deviation of initial weights."""
    from transformers import Qwen3VLConfig

    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in _TOKEN_FIELDS.items()}
    text = {
        "vocab_size": (len(tokenizer) + 63) // 64 * 64,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 32,
        "max_position_embeddings": 4096,
        "initializer_range": initializer_range,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 10000.0, "mrope_section": [6, 5, 5], "mrope_interleaved": True,
        },
    }  # fmt: skip
    vision = {
        "depth": 4,
        "hidden_size": 96,
        "intermediate_size": 384,
        "num_heads": 4,
        "patch_size": PATCH_SIZE,
        "spatial_merge_size": MERGE_SIZE,
        "temporal_patch_size": 2,
        "out_hidden_size": 128,
        "num_position_embeddings": 64,
        "initializer_range": initializer_range,
        "deepstack_visual_indexes": [1],
    }
    return Qwen3VLConfig(
        text_config={**text, "tie_word_embeddings": True}, vision_config=vision, tie_word_embeddings=True, **ids
    )


_TOKEN_FIELDS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}


def nano_folder() -> Path:
    """Return the folder of the shipped nano base inside the installed package."""
    return Path(str(files("cac.model") / "nano"))
