"""The decisions of the generator about a clip, and their probabilities before training.

Each decision has a name and options: the kind and colour of the two things, whether something else is there, a wall,
the tempo, and for each defect of `data/sample/defects.py` whether the clip has it. A defect that finds no suitable
actor (no creature, no wall) changes nothing. Positions, speeds, sizes and backdrops are not decided; they are random,
as noise is in a diffusion model.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cac.data.sample.defects import DEFECTS
from cac.data.sample.render import KINDS
from cac.rl.downstream.prompts import PALETTE, Prompt

STILL = "still"
FLAWED = "flawed"

OPTIONS: dict[str, tuple[str, ...]] = {
    "kind_1": KINDS,
    "colour_1": PALETTE,
    "kind_2": KINDS,
    "colour_2": PALETTE,
    "company": ("none", "one"),
    "wall": ("none", "one"),
    "tempo": (STILL, "slow", "fast"),
    **dict.fromkeys(DEFECTS, ("sound", FLAWED)),
}

_FOLLOWS_PROMPT = 0.99  # for each kind and colour
_TEMPO_FOLLOWS_PROMPT, _STILL = 0.93, 0.04
_WALL, _COMPANY = 0.4, 0.5  # as in the dataset's scenes, roughly
_FLAWED = 0.095  # each; about half of the clips then have an anomaly


@dataclass(frozen=True)
class Choices:
    """One option for each decision of `OPTIONS`, as its index."""

    picked: tuple[int, ...]

    def __post_init__(self) -> None:
        sizes = [len(options) for options in OPTIONS.values()]
        if len(self.picked) != len(sizes) or any(not 0 <= i < n for i, n in zip(self.picked, sizes, strict=True)):
            raise ValueError(f"{self.picked} does not pick one option for each of {list(OPTIONS)}")

    def __getitem__(self, decision: str) -> str:
        """Return the chosen option."""
        return OPTIONS[decision][self.picked[list(OPTIONS).index(decision)]]

    @property
    def flaws(self) -> tuple[str, ...]:
        """The defects that were chosen, as leaves of the taxonomy."""
        return tuple(leaf for leaf in DEFECTS if self[leaf] == FLAWED)


def make_choices(**options: str) -> Choices:
    """Return choices with the given options; other decisions take the first option, and the tempo is "fast"."""
    named = {"tempo": "fast", **options}
    return Choices(tuple(all_of.index(named[name]) if name in named else 0 for name, all_of in OPTIONS.items()))


def untrained_probabilities(prompt: Prompt) -> dict[str, tuple[float, ...]]:
    """Return the probability of every option of every decision before training; the prompt is mostly followed."""
    known: Mapping[str, dict[str, float]] = {
        "kind_1": {prompt.first.kind: _FOLLOWS_PROMPT},
        "colour_1": {prompt.first.colour: _FOLLOWS_PROMPT},
        "kind_2": {prompt.second.kind: _FOLLOWS_PROMPT},
        "colour_2": {prompt.second.colour: _FOLLOWS_PROMPT},
        "company": {"one": _COMPANY},
        "wall": {"one": _WALL},
        "tempo": {prompt.pace: _TEMPO_FOLLOWS_PROMPT, STILL: _STILL},
        **{leaf: {FLAWED: _FLAWED} for leaf in DEFECTS},
    }
    return {name: _filled(options, known[name]) for name, options in OPTIONS.items()}


def _filled(options: tuple[str, ...], known: Mapping[str, float]) -> tuple[float, ...]:
    """Share the remaining probability equally among the other options."""
    rest = (1.0 - sum(known.values())) / (len(options) - len(known))
    return tuple(known.get(option, rest) for option in options)
