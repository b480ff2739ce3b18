"""Rollouts that keep to the dialogue's grammar: TRL asks the model to `generate`, and it writes as the scorer does.

A free rollout that breaks the grammar tells nothing of windows, boxes or verdict; one that goes astray is written to
the last token that is allowed, while the whole batch waits. Here a token is drawn only where the grammar leaves a
choice, by the model's own chances of what is allowed. The loss still sees the model's free chances, so what the grammar
wrote is credited like the rest: where the model would have written it anyway, that is next to nothing. It leaves out
the tool loop and the loss, which are TRL's.
"""

from typing import TYPE_CHECKING, Any

from cac.model.adapters import without_wrapper
from cac.model.constrained_decoding import Guide, drawn
from cac.model.generation import TurnGenerator
from cac.params import Grpo
from cac.schema.dialogue import LOOK_REQUEST, SCAN_REQUEST, shown_times
from cac.schema.dialogue_grammar import look_grammar, scan_grammar

if TYPE_CHECKING:
    from torch import Tensor


def generate_in_grammar(model: Any, processor: Any, settings: Grpo) -> None:
    """Let `generate` of a model, as it is or wrapped by an adapter, draw answers of the two-turn dialogue."""
    import torch

    model, tokenizer = without_wrapper(model), processor.tokenizer
    end = tokenizer.eos_token_id  # nobody asks for the chances of a watched token here
    generator = TurnGenerator(model, processor, settings.max_turn_tokens, end, drawn(settings.temperature))

    def generate_guided(input_ids: "Tensor", generation_config: Any = None, **inputs: Any) -> "Tensor":
        prompts = tokenizer.batch_decode(input_ids, skip_special_tokens=False)
        grammars = [answer_grammar(prompt, generator.guide) for prompt in prompts]
        turn = generator.answer({"input_ids": input_ids, **inputs}, grammars, last=True)
        whole = [[*answer, end][: settings.max_turn_tokens] for answer in turn.answers]
        width = max(map(len, whole))
        rows = [answer + [tokenizer.pad_token_id] * (width - len(answer)) for answer in whole]
        return torch.cat([input_ids, torch.tensor(rows, device=input_ids.device)], dim=1)

    model.generate = generate_guided


def answer_grammar(prompt: str, guide: Guide) -> str:
    """Return the grammar of the answer that a rendered prompt asks for: a look if it asks for one, else a scan.

    After a call of the tool that showed nothing, the windows being none, that is a second scan, which is no answer.
    """
    coarse, _, later = prompt.partition(SCAN_REQUEST)
    if LOOK_REQUEST in later:
        return look_grammar(shown_times(later))
    return scan_grammar(shown_times(coarse), guide.tag)
