"""Grammar-constrained rollouts: replaces the model's `generate`, which TRL calls, by the scorer's generator.

A free rollout that breaks the grammar has no windows, boxes or verdict to reward, and one that never ends runs to the
token limit while the whole batch waits. Here the grammar writes what it forces, and a token is sampled only where it
allows several, from the model's probabilities of those. The loss uses the model's unconstrained probabilities of all
tokens, forced ones included: where the model would have written a forced token anyway, its gradient is close to zero.
Out of scope: the tool loop and the loss, which are TRL's.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from cac.model.adapters import without_wrapper
from cac.model.constrained_decoding import GrammarDecoder, multinomial
from cac.model.generation import TurnGenerator
from cac.params import Grpo
from cac.schema.dialogue import LOOK_REQUEST, SCAN_REQUEST, shown_stamps
from cac.schema.dialogue_grammar import look_grammar, scan_grammar

if TYPE_CHECKING:
    from torch import Tensor


def constrain_generation(model: Any, processor: Any, settings: Grpo) -> None:
    """Make `generate` of a model, wrapped by an adapter or not, sample answers of the two-turn dialogue."""
    model, sampler = without_wrapper(model), multinomial(settings.temperature)
    generator = TurnGenerator(model, processor, settings.max_turn_tokens, watched_token=None, sampler=sampler)
    model.generate = partial(_generate, generator, settings.max_turn_tokens)


def generating_model(model: Any) -> Any:
    """Return the model whose weights `generate` of an unwrapped model uses."""
    generate = model.generate
    return generate.args[0].model if isinstance(generate, partial) else model


def _generate(
    generator: TurnGenerator, max_turn_tokens: int, input_ids: "Tensor", generation_config: Any = None, **inputs: Any
) -> "Tensor":
    """Sample a turn for each prompt; return prompts and answers, padded on the right, as Transformers does."""
    import torch

    tokenizer = generator.processor.tokenizer
    prompts = tokenizer.batch_decode(input_ids, skip_special_tokens=False)
    grammars = [answer_grammar(prompt, generator.decoder) for prompt in prompts]
    turn = generator.generate_from_tokens({"input_ids": input_ids, **inputs}, grammars, last=True)
    complete = [[*answer, tokenizer.eos_token_id][:max_turn_tokens] for answer in turn.answers]
    width = max(map(len, complete))
    rows = [answer + [tokenizer.pad_token_id] * (width - len(answer)) for answer in complete]
    return torch.cat([input_ids, torch.tensor(rows, device=input_ids.device)], dim=1)


def answer_grammar(prompt: str, decoder: GrammarDecoder) -> str:
    """Return the grammar of the answer that a rendered prompt asks for: a look if it asks for one, else a scan.

    A prompt whose tool call failed shows no dense frames and asks for no look; the model then scans a second time.
    """
    coarse, _, later = prompt.partition(SCAN_REQUEST)
    if LOOK_REQUEST in later:
        return look_grammar(shown_stamps(later), decoder.tag)
    return scan_grammar(shown_stamps(coarse), decoder.tag)
