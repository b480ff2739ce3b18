"""The generator's prompts: two coloured things and a pace, such as "a red ball and a blue box, fast".

The two things differ in kind and colour, so that they can be distinguished in the clip. There is no language model; the
generator receives the prompt as numbers.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cac.data.sample.render import COLOURS, KINDS

Pace = Literal["slow", "fast"]
PACES: tuple[Pace, ...] = ("slow", "fast")
PALETTE = tuple(COLOURS)


@dataclass(frozen=True)
class Thing:
    """One of `render.KINDS` in one of `render.COLOURS`."""

    kind: str
    colour: str

    def __str__(self) -> str:
        article = "an" if self.colour[0] in "aeiou" else "a"
        return f"{article} {self.colour} {self.kind}"


@dataclass(frozen=True)
class Prompt:
    """Two things and how fast they should move."""

    first: Thing
    second: Thing
    pace: Pace

    def __str__(self) -> str:
        return f"{self.first} and {self.second}, {self.pace}"

    @property
    def things(self) -> tuple[Thing, Thing]:
        """Both things."""
        return self.first, self.second

    def features(self) -> list[float]:
        """Return the prompt as `FEATURES` zeros and ones."""
        one_hots = [
            [float(option == value) for option in options]
            for thing in self.things
            for options, value in ((KINDS, thing.kind), (PALETTE, thing.colour))
        ]
        return [number for part in one_hots for number in part] + [float(self.pace == "fast")]


FEATURES = 2 * (len(KINDS) + len(PALETTE)) + 1


def random_prompt(rng: np.random.Generator) -> Prompt:
    """Draw a prompt; every kind, colour and pace is equally likely."""
    kinds = [str(kind) for kind in rng.permutation(KINDS)[:2]]
    colours = [str(colour) for colour in rng.permutation(PALETTE)[:2]]
    first, second = (Thing(kind, colour) for kind, colour in zip(kinds, colours, strict=True))
    return Prompt(first, second, PACES[int(rng.integers(len(PACES)))])
