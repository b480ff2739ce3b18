from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cac.model.adapters import FORBIDDEN_TOKENS, forbidden_token_ids
from cac.model.constrained_decoding import allowed_tokens
from cac.model.generation import Turn, TurnGenerator, _align_with_cache
from cac.model.loading import load_base
from cac.model.reward_model import none_token_id
from cac.params import Model
from cac.schema.dialogue import (
    CONCENTRATE_TOOL,
    format_times,
    look_content,
    parse_scan,
    scan_prompt,
    split_tool_call,
    tool_reply,
)
from cac.schema.dialogue_grammar import look_grammar, scan_grammar

TOOLS = (CONCENTRATE_TOOL,)
SCAN = '0.0 odd\n<tool_call>\n{"name": "concentrate", "arguments": {"windows": [[0.0, 1.0]]}}\n</tool_call>'


@pytest.fixture(scope="module")
def generator() -> TurnGenerator:
    model, processor = load_base(Model(base="nano", revision=None, dtype="float32"))
    return TurnGenerator(model, processor, 80, none_token_id(processor.tokenizer))


def frames(count: int, size: int, seed: int) -> tuple[list[Image.Image], list[float]]:
    """Return frames of a square that moves, and their times."""
    shown = []
    for t in range(count):
        pixels = np.full((size, size, 3), 120 + seed, dtype=np.uint8)
        pixels[10 + 2 * t : 24 + 2 * t, 5 * seed : 5 * seed + 14] = (200, 30, 40)
        shown.append(Image.fromarray(pixels))
    return shown, [t / 8 for t in range(count)]


def seen_times(count: int) -> list[float]:
    return frames(count, 32, 0)[1]


def scan(generator: TurnGenerator, counts: list[int]) -> tuple[list, Turn]:
    """Return prompts to scan clips of so many frames, and what the model says."""
    prompts = [scan_prompt(*frames(count, 64, seed)) for seed, count in enumerate(counts)]
    grammars = [scan_grammar(format_times(seen_times(count)), generator.decoder.tag) for count in counts]
    return prompts, generator.first_turn(prompts, grammars, TOOLS)


def tokenizer_of(generator: TurnGenerator) -> Any:
    return generator.processor.tokenizer


def scanned(turn: Turn, generator: TurnGenerator) -> list[str]:
    return [tokenizer_of(generator).decode(answer) for answer in turn.answers]


def looked(prompt: list, scan: str, seed: int) -> list:
    """Return a dialogue that goes on after a scan; the number of dense frames varies."""
    reply = {"role": "assistant", "content": [{"type": "text", "text": scan}]}
    return [*prompt, reply, tool_reply(look_content(*frames(2 + seed, 96, seed)))]


def agree(turn: Turn, whole: Turn) -> None:
    """Check that two ways to the same dialogues gave the same answers."""
    assert turn.answers == whole.answers
    assert all(turn.answers)
    for one, other in zip(turn.watched, whole.watched, strict=True):
        assert [log is None for log in one] == [log is None for log in other]
        assert [log or 0.0 for log in one] == pytest.approx([log or 0.0 for log in other], abs=1e-3)


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0]])
def test_a_turn_on_the_cache_says_what_it_says_after_reading_everything(
    generator: TurnGenerator, rows: list[int]
) -> None:
    prompts, turn = scan(generator, [8, 3, 5])
    scans = scanned(turn, generator)
    assert len({len(answer) for answer in turn.answers}) > 1, "rows must end at different lengths"
    dialogues = [looked(prompts[row], scans[row], row) for row in rows]
    grammars = [look_grammar(format_times(seen_times(2 + row)), generator.decoder.tag) for row in rows]
    whole = generator.first_turn(dialogues, grammars, TOOLS)
    on_the_cache = generator.next_turn(turn, rows, dialogues, grammars, TOOLS)
    agree(on_the_cache, whole)
    assert on_the_cache.unaided == whole.unaided


def test_rows_leave_a_last_turn_when_they_are_done(generator: TurnGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [scan_prompt(*frames(count, 64, seed)) for seed, count in enumerate((2, 8, 3, 3))]
    grammars = [scan_grammar(format_times(seen_times(count)), generator.decoder.tag) for count in (2, 8, 3, 3)]
    batch_sizes: list[int] = []
    forward = generator._forward

    def counting(answers: list, inputs: dict, cache: Any, copies: int = 1) -> None:
        batch_sizes.append(len(inputs["input_ids"]))
        forward(answers, inputs, cache, copies)

    monkeypatch.setattr(generator, "_forward", counting)
    whole = generator.first_turn(prompts, grammars, TOOLS)
    assert set(batch_sizes) == {4}
    batch_sizes.clear()
    last = generator.first_turn(prompts, grammars, TOOLS, last=True)
    assert (batch_sizes[0], batch_sizes[-1]) == (4, 1)
    assert batch_sizes == sorted(batch_sizes, reverse=True)
    agree(last, whole)
    assert last.unaided == whole.unaided
    assert last.cache is None


@pytest.mark.parametrize("last", [False, True])
def test_answers_of_one_reading_are_those_of_as_many_readings(generator: TurnGenerator, last: bool) -> None:
    prompts = [scan_prompt(*frames(count, 64, seed)) for seed, count in enumerate((3, 8))]
    grammars = [scan_grammar(format_times(seen_times(count)), generator.decoder.tag) for count in (3, 8)]
    read_once = generator.first_turn(prompts, grammars, TOOLS, last=last, copies=3)
    each = [i for i in (0, 1) for _ in range(3)]
    agree(read_once, generator.first_turn([prompts[i] for i in each], [grammars[i] for i in each], TOOLS))


def test_a_third_turn_goes_on_from_the_second(generator: TurnGenerator) -> None:
    (prompt,), first = scan(generator, [4])
    second_dialogue = looked(prompt, scanned(first, generator)[0], 1)
    second = generator.next_turn(
        first, [0], [second_dialogue], [look_grammar(format_times(seen_times(3)), generator.decoder.tag)], TOOLS
    )
    third = looked(second_dialogue, scanned(second, generator)[0], 2)
    grammars = [look_grammar(format_times(seen_times(4)), generator.decoder.tag)]
    agree(generator.next_turn(second, [0], [third], grammars, TOOLS), generator.first_turn([third], grammars, TOOLS))


def test_the_cache_is_good_up_to_where_the_dialogue_differs(generator: TurnGenerator) -> None:
    prompts, turn = scan(generator, [4, 6])
    assert SCAN not in scanned(turn, generator)
    dialogues = [looked(prompt, SCAN, row) for row, prompt in enumerate(prompts)]
    grammars = [look_grammar(format_times(seen_times(2 + row)), generator.decoder.tag) for row in range(2)]
    agree(
        generator.next_turn(turn, [0, 1], dialogues, grammars, TOOLS), generator.first_turn(dialogues, grammars, TOOLS)
    )


def by_transformers(generator: TurnGenerator, prompt: list, grammar: str | None) -> list[int]:
    """Return what `generate` writes token by token, with the end token; in a grammar if there is one."""
    batch = generator._encode([prompt], TOOLS)
    length = batch["input_ids"].shape[1]

    def allowed(_: int, ids: Any) -> list[int]:
        matcher = generator.decoder.matcher(grammar)
        matcher.consume_tokens(ids[length:].tolist())
        return allowed_tokens(matcher).tolist()

    written = generator.model.generate(
        **batch,
        do_sample=False,
        max_new_tokens=100,
        suppress_tokens=forbidden_token_ids(tokenizer_of(generator)),
        prefix_allowed_tokens_fn=None if grammar is None else allowed,
    )
    return written[0, length:].tolist()


def test_it_says_what_transformers_says_token_by_token(generator: TurnGenerator) -> None:
    counts, end = [5, 8, 2], tokenizer_of(generator).eos_token_id
    prompts, turn = scan(generator, counts)
    for row, (prompt, count) in enumerate(zip(prompts, counts, strict=True)):
        grammar = scan_grammar(format_times(seen_times(count)), generator.decoder.tag)
        assert by_transformers(generator, prompt, grammar) == [*turn.answers[row], end]
        free = by_transformers(generator, prompt, None)
        assert turn.unaided[row] == (free == [*turn.answers[row], end])


def test_what_the_model_would_not_say_is_said_and_known(generator: TurnGenerator) -> None:
    (prompt,), _ = scan(generator, [5])
    turn = generator.first_turn([prompt], ['start: "verdict clean"'], TOOLS)
    assert scanned(turn, generator) == ["verdict clean"]
    assert turn.unaided == [False]


def test_fresh_weights_write_in_the_grammar(fresh_base: Path) -> None:
    model, processor = load_base(Model(base=str(fresh_base), revision=None, dtype="float32"))
    untaught = TurnGenerator(model, processor, 80, none_token_id(processor.tokenizer))
    (prompt,), turn = scan(untaught, [4])
    (text,) = scanned(turn, untaught)
    assert parse_scan(*split_tool_call(text)) is not None or "windows" in text
    assert [line.split()[0] for line in text.split("\n")[:5]] == ["0.0", "0.1", "0.2", "0.4", "<tool_call>"]
    assert turn.unaided == [False]
    dialogue = looked(prompt, text, 1)
    (answer,) = scanned(
        untaught.next_turn(
            turn, [0], [dialogue], [look_grammar(format_times(seen_times(3)), untaught.decoder.tag)], TOOLS
        ),
        untaught,
    )
    assert [line.split()[0] for line in answer.split("\n")] == ["0.0", "0.1", "0.2", "attribution"]


def test_an_answer_ends_where_its_room_does(generator: TurnGenerator) -> None:
    short = TurnGenerator(generator.model, generator.processor, 7, generator.watched_token)
    _, turn = scan(short, [8, 2])
    assert [len(answer) for answer in turn.answers] == [7, 7]
    assert [len(watched) for watched in turn.watched] == [7, 7]
    assert turn.unaided == [False, False]


def test_no_vision_token_is_ever_written(generator: TurnGenerator) -> None:
    _, turn = scan(generator, [2])
    assert not any(token in scanned(turn, generator)[0] for token in FORBIDDEN_TOKENS)


def test_a_batch_behind_the_cache_is_laid_out_where_the_model_is() -> None:
    """Whatever does not ask for the model's device lands on another one here, as it does where that is a GPU."""
    ids = torch.arange(1, 13).view(2, 6)
    batch = dict.fromkeys(("input_ids", "mm_token_type_ids"), ids) | {"image_grid_thw": torch.ones(1, 3)}
    batch["attention_mask"] = torch.ones_like(ids)
    with torch.device("meta"):
        laid = _align_with_cache(batch, torch.ones(2, 4, dtype=torch.bool, device="cpu"), [4, 2])
    assert laid["input_ids"].tolist() == [[1, 2, 3, 4, 0, 0, 5, 6], [7, 8, 0, 0, 9, 10, 11, 12]]
