"""The trainable generator: a small network from the prompt to a distribution over every decision.

Its logits are those of the untrained generator plus the network's, which starts at zero. So the untrained generator is
available as the reference policy. Given the prompt, the decisions are independent. The module imports torch at the top,
so import it inside functions only.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cac.rl.downstream.choices import OPTIONS, Choices, untrained_probabilities
from cac.rl.downstream.prompts import FEATURES, Prompt

_HIDDEN = 32
_SIZES = [len(options) for options in OPTIONS.values()]


class ClipGenerator(nn.Module):
    """A policy over `OPTIONS`; `seed` initialises the hidden layer."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.hidden = nn.Linear(FEATURES, _HIDDEN)
        self.out = nn.Linear(_HIDDEN, sum(_SIZES))
        with torch.no_grad():
            self.hidden.weight.normal_(0, FEATURES**-0.5, generator=generator)
            for parameter in (self.hidden.bias, self.out.weight, self.out.bias):
                parameter.zero_()

    def forward(self, prompts: Sequence[Prompt]) -> list[Tensor]:
        """Return the log-probabilities of every decision's options, each (prompts, options)."""
        features = torch.tensor([prompt.features() for prompt in prompts])
        change = self.out(torch.tanh(self.hidden(features))).split(_SIZES, dim=1)
        return [torch.log_softmax(log + more, 1) for log, more in zip(_untrained_logs(prompts), change, strict=True)]

    @torch.no_grad()
    def sample(self, prompts: Sequence[Prompt], generator: torch.Generator) -> list[Choices]:
        """Sample the choices for each prompt."""
        columns = [torch.multinomial(logs.exp(), 1, generator=generator)[:, 0].tolist() for logs in self(prompts)]
        return [Choices(row) for row in zip(*columns, strict=True)]

    def log_prob(self, prompts: Sequence[Prompt], decided: Sequence[Choices]) -> Tensor:
        """Return the log-probability of the choices given the prompts, shape (prompts,)."""
        picked = torch.tensor([one.picked for one in decided])
        logs = [logs.gather(1, picked[:, i : i + 1]) for i, logs in enumerate(self(prompts))]
        return torch.cat(logs, dim=1).sum(dim=1)

    def divergence(self, prompts: Sequence[Prompt]) -> Tensor:
        """Return the Kullback-Leibler divergence from the untrained generator, exact, shape (prompts,)."""
        both = zip(self(prompts), _untrained_logs(prompts), strict=True)
        return torch.stack([(logs.exp() * (logs - reference)).sum(1) for logs, reference in both]).sum(0)


def _untrained_logs(prompts: Sequence[Prompt]) -> list[Tensor]:
    tables = [list(untrained_probabilities(prompt).values()) for prompt in prompts]
    return [torch.tensor(column).log() for column in zip(*tables, strict=True)]
