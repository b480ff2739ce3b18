"""What the generator decides about a clip, and how the untrained one decides it.

Each decision has a name and options: what the two things are, whether something else is there, a wall, how fast it all
goes, and for each anomaly that `data/sample/defects.py` can draw whether it befalls the clip. A decision for an anomaly that
finds no victim (no creature, no wall) changes nothing. Left out: places, speeds, sizes and backdrops, which chance
decides as noise does in a diffusion model.
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

_AS_ASKED = 0.99  # for each kind and colour
_TEMPO_AS_ASKED, _STILL = 0.93, 0.04
_WALL, _COMPANY = 0.4, 0.5  # as in the dataset's scenes, roughly
_FLAWED = 0.095  # each; about half of the clips then have an anomaly


@dataclass(frozen=True)
class Choices:
    """One option for each decision of `OPTIONS`, by its position."""

    picked: tuple[int, ...]

    def __post_init__(self) -> None:
        sizes = [len(options) for options in OPTIONS.values()]
        if len(self.picked) != len(sizes) or any(not 0 <= i < n for i, n in zip(self.picked, sizes, strict=True)):
            raise ValueError(f"{self.picked} does not pick one option for each of {list(OPTIONS)}")

    def __getitem__(self, decision: str) -> str:
        """Return the option picked."""
        return OPTIONS[decision][self.picked[list(OPTIONS).index(decision)]]

    @property
    def flaws(self) -> tuple[str, ...]:
        """The leaves that are to befall the clip."""
        return tuple(leaf for leaf in DEFECTS if self[leaf] == FLAWED)


def choices(**options: str) -> Choices:
    """Return the choices that are named; every other is the first option, and the tempo "fast"."""
    named = {"tempo": "fast", **options}
    return Choices(tuple(all_of.index(named[name]) if name in named else 0 for name, all_of in OPTIONS.items()))


def untrained(prompt: Prompt) -> dict[str, tuple[float, ...]]:
    """Return the probability of every option of every decision before any training: mostly what was asked for."""
    asked: Mapping[str, dict[str, float]] = {
        "kind_1": {prompt.first.kind: _AS_ASKED},
        "colour_1": {prompt.first.colour: _AS_ASKED},
        "kind_2": {prompt.second.kind: _AS_ASKED},
        "colour_2": {prompt.second.colour: _AS_ASKED},
        "company": {"one": _COMPANY},
        "wall": {"one": _WALL},
        "tempo": {prompt.pace: _TEMPO_AS_ASKED, STILL: _STILL},
        **{leaf: {FLAWED: _FLAWED} for leaf in DEFECTS},
    }
    return {name: _filled(options, asked[name]) for name, options in OPTIONS.items()}


def _filled(options: tuple[str, ...], known: Mapping[str, float]) -> tuple[float, ...]:
    """Share what the known options leave among the others."""
    rest = (1.0 - sum(known.values())) / (len(options) - len(known))
    return tuple(known.get(option, rest) for option in options)
