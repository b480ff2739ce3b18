"""Rollouts that keep to the grammar: what TRL's `generate` then gives, from a base that speaks no grammar at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from cac.model.constrained_decoding import GrammarDecoder
from cac.model.generation import TurnGenerator
from cac.model.loading import load_base
from cac.params import Grpo, Model, Params
from cac.schema.dialogue import (
    CONCENTRATE_TOOL,
    Message,
    format_times,
    look_content,
    parse_look,
    parse_scan,
    scan_prompt,
    shown_stamps,
    split_tool_call,
    tool_reply,
)
from cac.schema.dialogue_grammar import look_grammar, scan_grammar
from cac.training.grpo.constrained_rollouts import answer_grammar, constrain_generation

COARSE, DENSE = [0.0, 0.5, 1.0, 10.3], [0.4, 0.6]
CALL = '0.0 odd\n<tool_call>\n{"name": "concentrate", "arguments": {"windows": [[0.3, 0.7]]}}\n</tool_call>'
PROMPT = scan_prompt([Image.new("RGB", (64, 64), (90, 90, 90))] * 4, COARSE)
SHOWN = look_content([Image.new("RGB", (96, 96), (90, 90, 90))] * 2, DENSE)
REFUSED = [{"type": "text", "text": "{'error': 'windows must be a list of [start, end] in seconds'}"}]

Batch = dict[str, Any]


@pytest.fixture(scope="module")
def parts(fresh_base: Path) -> tuple[Any, Any]:
    return load_base(Model(base=str(fresh_base), revision=None, dtype="float32"))


@pytest.fixture
def settings(project_params: Params) -> Grpo:
    return project_params.two_turn_grpo


def after_call(content: list[Message]) -> list[Message]:
    return [*PROMPT, {"role": "assistant", "content": [{"type": "text", "text": CALL}]}, tool_reply(content)]


def batch_of(processor: Any, *dialogues: list[Message]) -> Batch:
    options = {"padding": True, "padding_side": "left"}
    return dict(
        processor.apply_chat_template(
            list(dialogues),
            tools=[CONCENTRATE_TOOL],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs=options,
        )
    )


def rollouts(parts: tuple[Any, Any], settings: Grpo) -> Callable[[Batch, int], torch.Tensor]:
    """Return what asks a model for rollouts of a batch under a seed."""
    model, processor = parts
    plain = model.generate
    constrain_generation(model, processor, settings)
    guided, model.generate = model.generate, plain

    def generate(batch: Batch, seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        with torch.no_grad():
            return guided(**batch, generation_config=None)

    return generate


def test_the_prompt_says_which_answer_is_due(parts: tuple[Any, Any]) -> None:
    tokenizer, decoder = parts[1].tokenizer, GrammarDecoder(parts[1].tokenizer)
    batch = batch_of(parts[1], PROMPT, after_call(SHOWN), after_call(REFUSED))
    prompts = tokenizer.batch_decode(batch["input_ids"], skip_special_tokens=False)
    scan = scan_grammar(format_times(COARSE), decoder.tag)
    assert [answer_grammar(prompt, decoder) for prompt in prompts] == [
        scan,
        look_grammar(format_times(DENSE), decoder.tag),
        scan,
    ]
    assert shown_stamps(prompts[1]) == [*format_times(COARSE), *format_times(DENSE)]


def test_a_base_that_knows_no_grammar_keeps_to_it(parts: tuple[Any, Any], settings: Grpo) -> None:
    tokenizer = parts[1].tokenizer
    batch = batch_of(parts[1], *[PROMPT] * 6, *[after_call(SHOWN)] * 6)
    rows = rollouts(parts, settings.model_copy(update={"max_turn_tokens": 400}))(batch, 1)
    width = batch["input_ids"].shape[1]
    assert torch.equal(rows[:, :width], batch["input_ids"])
    answers = [row[: row.index(tokenizer.eos_token_id)] for row in rows[:, width:].tolist()]
    texts = tokenizer.batch_decode(answers, skip_special_tokens=False)
    for text in texts[:6]:
        content, calls = split_tool_call(text)
        assert [line.split()[0] for line in content.split("\n")] == ["0.0", "0.5", "1.0", "10.3"]
        assert parse_scan(content, calls) is not None
    assert all(parse_look(text) is not None for text in texts[6:])
    assert len(set(texts[:6])) > 1, "rollouts of one prompt must differ"


def test_the_same_seed_draws_the_same_rollouts_and_another_one_others(parts: tuple[Any, Any], settings: Grpo) -> None:
    generate, batch = rollouts(parts, settings), batch_of(parts[1], PROMPT, PROMPT)
    assert torch.equal(generate(batch, 3), generate(batch, 3))
    assert not torch.equal(generate(batch, 3), generate(batch, 4))


def test_cold_rollouts_are_what_the_scorer_says(parts: tuple[Any, Any], settings: Grpo) -> None:
    model, processor = parts
    batch = batch_of(processor, after_call(SHOWN))
    greedy = TurnGenerator(model, processor, settings.max_turn_tokens, processor.tokenizer.eos_token_id)
    with torch.no_grad():
        expected = greedy.generate_from_tokens(
            dict(batch), [look_grammar(format_times(DENSE), greedy.decoder.tag)]
        ).answers[0]
    cold = rollouts(parts, settings.model_copy(update={"temperature": 1e-6}))(batch, 1)
    written = cold[0, batch["input_ids"].shape[1] :].tolist()
    assert written[: len(expected)] == expected
    assert written[len(expected) :][:1] in ([], [processor.tokenizer.eos_token_id])


def test_a_rollout_that_is_cut_off_has_no_end(parts: tuple[Any, Any], settings: Grpo) -> None:
    batch = batch_of(parts[1], PROMPT)
    rows = rollouts(parts, settings.model_copy(update={"max_turn_tokens": 5}))(batch, 1)
    written = rows[0, batch["input_ids"].shape[1] :].tolist()
    assert len(written) == 5
    assert parts[1].tokenizer.eos_token_id not in written
