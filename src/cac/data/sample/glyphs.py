"""A 5x7 bitmap alphabet for the words on signs, so that rendering depends on no installed font."""

import numpy as np

GLYPH_WIDTH, GLYPH_HEIGHT = 5, 7

# Columns left to right, the lowest bit on top.
_COLUMNS = {
    "A": "7E1111117E", "B": "7F49494936", "C": "3E41414122", "D": "7F4141221C", "E": "7F49494941", "F": "7F09090901",
    "G": "3E4149497A", "H": "7F0808087F", "I": "00417F4100", "J": "2040413F01", "K": "7F08142241", "L": "7F40404040",
    "M": "7F020C027F", "N": "7F0408107F", "O": "3E4141413E", "P": "7F09090906", "Q": "3E4151215E", "R": "7F09192946",
    "S": "4649494931", "T": "01017F0101", "U": "3F4040403F", "V": "1F2040201F", "W": "3F4038403F", "X": "6314081463",
    "Y": "0708700807", "Z": "6151494543",
}  # fmt: skip

# Words whose mirror image reads as no word.
WORDS = ("RED", "FLY", "LEG", "BEE", "KEY", "PEG", "FUR", "SKY", "JAR", "CUB", "ELF", "DEN", "FIG", "PEA", "CAB", "LEK")


def letter(char: str) -> np.ndarray:
    """Return the glyph of an upper-case letter as booleans of shape (7, 5)."""
    columns = bytes.fromhex(_COLUMNS[char])
    return np.array([[bool(column >> row & 1) for column in columns] for row in range(GLYPH_HEIGHT)])


def nonsense(rng: np.random.Generator) -> np.ndarray:
    """Return a glyph that is no letter: random strokes of about a letter's ink, booleans of shape (7, 5)."""
    ink = rng.random((GLYPH_HEIGHT, GLYPH_WIDTH)) < 0.5
    ink[rng.integers(GLYPH_HEIGHT)] = True
    return ink


def word_bitmap(word: str, rng: np.random.Generator | None = None) -> np.ndarray:
    """Return a word as booleans of shape (7, 6 * letters - 1); with `rng`, of nonsense glyphs, not letters."""
    gap = np.zeros((GLYPH_HEIGHT, 1), dtype=bool)
    parts: list[np.ndarray] = []
    for char in word:
        parts += [letter(char) if rng is None else nonsense(rng), gap]
    return np.concatenate(parts[:-1], axis=1)
