import numpy as np
import pytest
from PIL import Image

from cac.dialogue import CONCENTRATE_TOOL, look_content, scan_prompt, tool_reply
from cac.model.generation import FORBIDDEN_TOKENS, Turn, TurnGenerator
from cac.model.loading import load_base
from cac.model.reward_model import none_token_id
from cac.params import Model

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


def scanned(turn: Turn, generator: TurnGenerator) -> list[str]:
    return [generator.processor.tokenizer.decode(answer) for answer in turn.answers]


def looked(prompt: list, scan: str, seed: int) -> list:
    """Return a dialogue that goes on after a scan; the number of dense frames varies."""
    reply = {"role": "assistant", "content": [{"type": "text", "text": scan}]}
    return [*prompt, reply, tool_reply(look_content(*frames(2 + seed, 96, seed)))]


def agree(turn: Turn, whole: Turn) -> None:
    """Check that two ways to the same dialogues gave the same answers."""
    assert turn.answers == whole.answers
    assert all(turn.answers)
    for one, other in zip(turn.watched, whole.watched, strict=True):
        assert one == pytest.approx(other, abs=1e-3)


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0]])
def test_a_turn_on_the_cache_says_what_it_says_after_reading_everything(
    generator: TurnGenerator, rows: list[int]
) -> None:
    prompts = [scan_prompt(*frames(count, 64, seed)) for seed, count in enumerate((8, 3, 5))]
    turn = generator.begin(prompts, TOOLS)
    scans = scanned(turn, generator)
    assert len({len(answer) for answer in turn.answers}) > 1, "rows must end at different lengths"
    dialogues = [looked(prompts[row], scans[row], row) for row in rows]
    agree(generator.go_on(turn, rows, dialogues, TOOLS), generator.begin(dialogues, TOOLS))


def test_a_third_turn_goes_on_from_the_second(generator: TurnGenerator) -> None:
    prompt = scan_prompt(*frames(4, 64, 1))
    first = generator.begin([prompt], TOOLS)
    second_dialogue = looked(prompt, scanned(first, generator)[0], 1)
    second = generator.go_on(first, [0], [second_dialogue], TOOLS)
    third = looked(second_dialogue, scanned(second, generator)[0], 2)
    agree(generator.go_on(second, [0], [third], TOOLS), generator.begin([third], TOOLS))


def test_the_cache_is_good_up_to_where_the_dialogue_differs(generator: TurnGenerator) -> None:
    prompts = [scan_prompt(*frames(count, 64, seed)) for seed, count in enumerate((4, 6))]
    turn = generator.begin(prompts, TOOLS)
    assert SCAN not in scanned(turn, generator)
    dialogues = [looked(prompt, SCAN, row) for row, prompt in enumerate(prompts)]
    agree(generator.go_on(turn, [0, 1], dialogues, TOOLS), generator.begin(dialogues, TOOLS))


def test_no_vision_token_is_ever_written(generator: TurnGenerator) -> None:
    turn = generator.begin([scan_prompt(*frames(2, 64, 0))], TOOLS)
    assert not any(token in scanned(turn, generator)[0] for token in FORBIDDEN_TOKENS)
