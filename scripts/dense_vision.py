"""Dense pretraining of the vision tower: each cell predicts the object that covers it and the object's box.

An answer of twenty tokens gives little supervision for a frame; with a label for each cell the tower learns to locate
objects in minutes instead of hours. The labels are those of the generic tasks: kind, colour, box, legs, letters, wall.
The heads are discarded; the language model reads the tower's merged tokens.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from cac.data.sample.render import COLOURS, KINDS, ActorState, extent
from cac.data.sample.scenes import Scene
from cac.schema.geometry import cell_shares
from scripts.generic_scenes import (
    CELL,
    CLIP_SIZE,
    LETTERS,
    MIN_SHARE,
    NOTHING,
    cell_owners,
    ordinary_scene,
    plain_scene,
)
from scripts.generic_tasks import SIZES

LONGEST_WORD = 3
PIXEL_WEIGHT, BOX_WEIGHT = 1.0, 0.5
KIND_CLASSES = ("nothing", "wall", *KINDS)
CLASSES = {"kind": len(KIND_CLASSES), "colour": len(COLOURS), "legs": 8} | {
    f"letter_{place}": len(LETTERS) for place in range(LONGEST_WORD)
}


class DenseHeads(nn.Module):
    """Heads on a merged token: classes, a box as four distributions over 0 to 100, and its pixels."""

    def __init__(self, width: int, pixels: int):
        super().__init__()
        self.classes = nn.ModuleDict({name: nn.Linear(width, count) for name, count in CLASSES.items()})
        self.box = nn.Linear(width, 4 * 101)
        self.pixels = nn.Linear(width, pixels)


def dense_loss(
    tokens: torch.Tensor, pixels: torch.Tensor, heads: DenseHeads, batch: dict[str, Any], softened: torch.Tensor
) -> torch.Tensor:
    """Return the weighted sum of each head's mean loss over the cells that have its label.

    Args:
        tokens: the tower's merged tokens: (tokens, width).
        pixels: the pixels of each token: (tokens, values).
        heads: the heads.
        batch: the labels of `dense_batch`.
        softened: the soft target of each coordinate: (101, 101).
    """
    loss = PIXEL_WEIGHT * mse_loss(heads.pixels(tokens), pixels)
    for name, head in heads.classes.items():
        has = batch[name] != NOTHING
        if has.any():
            loss = loss + cross_entropy(head(tokens[has]), batch[name][has])
    has = batch["box"][:, 0] != NOTHING
    scores = torch.log_softmax(heads.box(tokens[has]).view(-1, 4, 101), dim=-1)
    return loss - BOX_WEIGHT * 4 * (softened[batch["box"][has]] * scores).sum(-1).mean()


def dense_batch(
    processor, rng: np.random.Generator, frames: int, plain_share: float, sizes: tuple[int, ...] = SIZES
) -> dict[str, torch.Tensor]:
    """Render new single-frame scenes, small ones first, and label each merged cell, in the order of the tokens."""
    images, labels = [], []
    for size in np.sort(rng.choice(sizes, frames)).tolist():
        scene = plain_scene(rng, 1) if rng.random() < plain_share else ordinary_scene(rng, 1)
        images.append(Image.fromarray(scene.render([0])[0]).resize((size, size), Image.Resampling.BILINEAR))
        labels.append(cell_labels(scene, size // CELL))
    batch = dict(processor.image_processor(images, return_tensors="pt"))
    for name in labels[0]:
        batch[name] = torch.from_numpy(np.concatenate([label[name] for label in labels]))
    return batch


def cell_labels(scene: Scene, grid: int) -> dict[str, np.ndarray]:
    """Label each of grid x grid cells, row by row, with the object that covers most of it."""
    states = [actor[0] for actor in scene.actors if actor[0].visible]
    owner = cell_owners(states, grid)
    labels = {name: np.full(grid * grid, NOTHING) for name in CLASSES}
    labels["box"] = np.full((grid * grid, 4), NOTHING)
    labels["kind"][:] = 0
    if scene.wall is not None:
        wall = (scene.wall.x1 / CLIP_SIZE, 0.0, scene.wall.x2 / CLIP_SIZE, 1.0)
        labels["kind"][cell_shares(wall, grid, grid).ravel() > MIN_SHARE] = 1
    for index, state in enumerate(states):
        for name, value in _facts(state).items():
            labels[name][owner == index] = value
    return labels


def _facts(state: ActorState) -> dict[str, object]:
    facts: dict[str, object] = {
        "kind": KIND_CLASSES.index(state.kind),
        "colour": list(COLOURS).index(state.colour),
        "box": [round(value * 100) for value in extent(state, CLIP_SIZE, CLIP_SIZE)],
    }
    if state.kind == "creature":
        facts |= {"legs": state.limbs}
    if state.kind == "sign":
        facts |= {f"letter_{i}": LETTERS.index(char) for i, char in enumerate(state.word[:LONGEST_WORD])}
    return facts
