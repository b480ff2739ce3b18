"""Effects on text: garbled letters, a mirrored word, letters that keep changing.

Ordinary videos seldom show legible text, and finding it would need a detector. So a caption is drawn over both twins
for the whole segment; it is intact in the clean clip and defective within the window of the other. Severity sets how
many letters are affected and, in both twins alike, the caption's contrast.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cac.data.injection.effects.layers import Layer

# Words whose mirror image reads as no word.
WORDS = (
    "BAKERY",
    "CENTRAL",
    "FREIGHT",
    "GARDEN",
    "HARBOUR",
    "KITCHEN",
    "LIBRARY",
    "MARKET",
    "POLICE",
    "REPAIRS",
    "SCHOOL",
)
_LETTERS = "ABCDEFGHJKLNPRSZ"
_BLUR = 0.5  # pixels; makes letters as soft as the footage
_CHANGE_EVERY = 2  # frames between two wordings of a text that shifts

CaptionFrames = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Caption:
    """A word on a plate at a fixed place of the frame.

    Attributes:
        word: what it says, upper case.
        height: of the plate, in pixels.
        corner: x and y of its upper left corner.
        light: whether it is light on dark.
        strength: in (0, 1], how strongly the letters stand out from the plate.
    """

    word: str
    height: int
    corner: tuple[int, int]
    light: bool
    strength: float


def draw_caption(size: tuple[int, int], severity: float, rng: np.random.Generator) -> Caption:
    """Return a caption that fits a frame of `size` (width, height)."""
    width, height = size
    word = str(rng.choice(WORDS))
    tall = max(12, round(min(height, width / len(word) / 0.62) * rng.uniform(0.13, 0.19)))
    wide = render_caption(Caption(word, tall, (0, 0), True, 1.0)).shape[1]
    x = int(rng.integers(2, max(3, width - wide - 2)))
    y = int(rng.integers(2, max(3, height - tall - 2)))
    return Caption(word, tall, (x, y), bool(rng.random() < 0.5), 0.35 + 0.65 * severity)


def render_caption(caption: Caption, letters: list[np.ndarray] | None = None) -> np.ndarray:
    """Return the caption as grey values in [0, 255], float32; `letters` replace those of the word."""
    inks = letters if letters is not None else [render_letter(char, caption.height) for char in caption.word]
    gap = np.zeros((caption.height, max(1, caption.height // 12)), np.float32)
    row = np.concatenate([part for ink in inks for part in (gap, ink)] + [gap], axis=1)
    ground, text = (30.0, 235.0) if caption.light else (225.0, 20.0)
    grey = ground + (text - ground) * caption.strength * row
    return cv2.GaussianBlur(grey, (0, 0), _BLUR).astype(np.float32)


def render_letter(char: str, height: int) -> np.ndarray:
    """Return a letter's ink in [0, 1], float32, `height` pixels high with room around it."""
    font = ImageFont.load_default(size=round(height * 0.8))
    left, _, right, _ = font.getbbox(char)
    image = Image.new("L", (int(right - left) + 1, height))
    ImageDraw.Draw(image).text((-left, height / 2), char, font=font, fill=255, anchor="lm")
    return np.asarray(image, np.float32) / 255


def caption_layer(frame: np.ndarray, caption: Caption, image: np.ndarray) -> Layer:
    """Return the layer that shows a plate's image on a frame at the caption's place."""
    x, y = caption.corner
    mask = np.zeros(frame.shape[:2], np.float32)
    pixels = frame.astype(np.float32)
    bottom, right = min(frame.shape[0], y + image.shape[0]), min(frame.shape[1], x + image.shape[1])
    mask[y:bottom, x:right] = 1.0
    pixels[y:bottom, x:right] = image[: bottom - y, : right - x, None]
    return Layer(pixels, mask)


def garbled_text(caption: Caption, severity: float, rng: np.random.Generator) -> CaptionFrames:
    """Some letters (all at full severity) become shapes that are not letters, the same for the whole window."""
    inks = [render_letter(char, caption.height) for char in caption.word]
    for place in _affected_letters(caption, severity, rng):
        inks[place] = _pseudo_letter(inks[place], str(rng.choice(list(_LETTERS))), rng)
    image = render_caption(caption, inks)
    return lambda _: image


def mirrored_text(caption: Caption, severity: float, rng: np.random.Generator) -> CaptionFrames:
    """The word is mirrored; severity changes only the caption's contrast."""
    image = np.ascontiguousarray(render_caption(caption)[:, ::-1])
    return lambda _: image


def shifting_text(caption: Caption, severity: float, rng: np.random.Generator) -> CaptionFrames:
    """Some letters (all at full severity) change every second frame."""
    places, seed = _affected_letters(caption, severity, rng), int(rng.integers(1 << 30))

    def render_frame(number: int) -> np.ndarray:
        drawn = np.random.default_rng([seed, number // _CHANGE_EVERY])
        inks = [render_letter(char, caption.height) for char in caption.word]
        for place in places:
            others = [char for char in _LETTERS if char != caption.word[place]]
            other = render_letter(str(drawn.choice(others)), caption.height)
            inks[place] = cv2.resize(other, inks[place].shape[::-1], interpolation=cv2.INTER_AREA)
        return render_caption(caption, inks)

    return render_frame


def _affected_letters(caption: Caption, severity: float, rng: np.random.Generator) -> list[int]:
    """Return the indices of the affected letters: more with severity, including those of a lower severity."""
    order = rng.permutation(len(caption.word))
    return sorted(int(place) for place in order[: max(1, round(severity * len(caption.word)))])


def _pseudo_letter(ink: np.ndarray, other: str, rng: np.random.Generator) -> np.ndarray:
    """Return a shape of about a letter's ink: the letter upside down, its one half another letter's, bent."""
    turned = np.ascontiguousarray(ink[::-1])
    second = cv2.resize(render_letter(other, ink.shape[0]), ink.shape[::-1], interpolation=cv2.INTER_AREA)
    half = ink.shape[0] // 2
    mixed = np.concatenate([turned[:half], np.ascontiguousarray(second[:, ::-1])[half:]])
    ys, xs = np.mgrid[0 : ink.shape[0], 0 : ink.shape[1]].astype(np.float32)
    bend = np.float32(0.1 * ink.shape[0]) * np.sin(ys / ink.shape[0] * 2 * np.pi + np.float32(rng.uniform(0, 6)))
    return cv2.remap(mixed, xs + bend, ys, cv2.INTER_LINEAR)
