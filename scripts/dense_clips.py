"""Dense labels of clips: for each image token, what has changed on the object it shows, and how the object was before.

Comparing frames is the hardest skill of the base. It does not learn it from answers alone, because their flags can be
guessed from each other and from the number of dense frames. A label for every image token, on clips of two frames at
first, teaches it in minutes. The heads are discarded; the answers use the features that the layers have learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cac.data.sample.render import COLOURS, KINDS, ActorState, extent
from scripts.generic_scenes import CELL, CHANGES, CLIP_SIZE, NOTHING, ChangedClip, cell_owners

PAST_LAYER, CHANGE_LAYER, FRAME_LAYER = (
    2,
    3,
    4,
)  # the layers, of six, that the heads read; later ones are for the answers
BOX_WEIGHT, LOOK_WEIGHT = 0.5, 0.3


@dataclass(frozen=True)
class ClipLabels:
    """Labels of the frames of a dialogue, in the order of their tokens; `NOTHING` where there is none.

    NumPy arrays, or tensors after `on_device`.

    Attributes:
        change: for each token 0 if its object is unchanged, else 1 + the change: (tokens,).
        box: the box of the token's object, corners in 0 to 100: (tokens, 4).
        frame: the change in each frame, 0 if no object has changed: (frames,).
        frame_box: the box of the one changed object of a frame: (frames, 4).
        past_box: the box of the token's object in the previous frame, corners in 0 to 100: (tokens, 4).
        usual_colour: the usual colour of a changed object: (tokens,).
        usual_kind: its usual kind: (tokens,).
    """

    change: Any
    box: Any
    frame: Any
    frame_box: Any
    past_box: Any
    usual_colour: Any
    usual_kind: Any


def joined(parts: Sequence[ClipLabels]) -> ClipLabels:
    """Concatenate the labels of several looks or clips."""
    names = [field.name for field in fields(ClipLabels)]
    return ClipLabels(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def on_device(labels: ClipLabels, device: torch.device) -> ClipLabels:
    """Return the labels as tensors on a device, as `clip_loss` needs them."""
    parts = (torch.as_tensor(getattr(labels, field.name)) for field in fields(ClipLabels))
    return ClipLabels(*(part.to(device, non_blocking=True) for part in parts))


def label_clip(clip: ChangedClip, frames: Sequence[int], size: int) -> ClipLabels:
    """Label the given frames of a clip, shown at `size` pixels."""
    before = [frames[0], *frames[:-1]]
    return joined([_label_frame(clip, frame, last, size // CELL) for frame, last in zip(frames, before, strict=True)])


def _label_frame(clip: ChangedClip, frame: int, before: int, grid: int) -> ClipLabels:
    actors = clip.scene.actors
    owner = cell_owners([actor[frame] for actor in actors], grid)
    change = np.where(owner < 0, NOTHING, 0)
    box, past_box = (np.full((len(owner), 4), NOTHING) for _ in range(2))
    colour, kind = np.full(len(owner), NOTHING), np.full(len(owner), NOTHING)
    for index, actor in enumerate(actors):
        box[owner == index] = _corners(actor[frame])
        if actor[frame].visible and actor[before].visible:
            past_box[owner == index] = _corners(actor[before])
    for event in clip.events:
        if event.at(frame):
            mine, state = owner == event.actor, clip.usual.actors[event.actor][frame]
            change[mine] = 1 + CHANGES.index(event.word)
            colour[mine], kind[mine] = list(COLOURS).index(state.colour), KINDS.index(state.kind)
    seen = [event for event in clip.events if event.at(frame)]
    word = 1 + CHANGES.index(seen[-1].word) if seen else 0
    place = _corners(actors[seen[0].actor][frame]) if len(seen) == 1 else [NOTHING] * 4
    return ClipLabels(change, box, np.array([word]), np.array([place]), past_box, colour, kind)


def _corners(state: ActorState) -> list[int]:
    return [round(100 * value) for value in extent(state, CLIP_SIZE, CLIP_SIZE)]


class ClipHeads(nn.Module):
    """Heads on the language model's image tokens, and on the token that closes each frame."""

    def __init__(self, width: int):
        super().__init__()
        self.change = nn.Linear(width, 1 + len(CHANGES))
        self.box = nn.Linear(width, 4 * 101)
        self.frame = nn.Linear(width, 1 + len(CHANGES))
        self.frame_box = nn.Linear(width, 4 * 101)
        self.past_box = nn.Linear(width, 4 * 101)
        self.usual_colour = nn.Linear(width, len(COLOURS))
        self.usual_kind = nn.Linear(width, len(KINDS))


def clip_loss(
    heads: ClipHeads, states: Sequence[Tensor], places: tuple[Tensor, Tensor], labels: ClipLabels, softened: Tensor
) -> Tensor:
    """Return the weighted sum of each head's mean loss.

    Args:
        heads: the heads.
        states: the language model's hidden states, the embeddings first: each (batch, length, width).
        places: masks of the image tokens and of the tokens that close a frame: boolean (batch, length) each.
        labels: of all image tokens and frames of the batch, in order, as tensors.
        softened: the soft target of each coordinate: (101, 101).
    """
    image, closing = places
    past, late, frames = states[PAST_LAYER][image], states[CHANGE_LAYER][image], states[FRAME_LAYER][closing]
    loss = cross_entropy(heads.change(late), labels.change, ignore_index=NOTHING)
    loss = loss + cross_entropy(heads.frame(frames), labels.frame)
    boxes = (
        (heads.past_box, past, labels.past_box),
        (heads.box, late, labels.box),
        (heads.frame_box, frames, labels.frame_box),
    )
    for head, seen, box in boxes:
        loss = loss + BOX_WEIGHT * _box_loss(head, seen, box, softened)
    for head, target in ((heads.usual_colour, labels.usual_colour), (heads.usual_kind, labels.usual_kind)):
        if (target != NOTHING).any():
            loss = loss + LOOK_WEIGHT * cross_entropy(head(past), target, ignore_index=NOTHING)
    return loss


def _box_loss(head: nn.Linear, states: Tensor, box: Tensor, softened: Tensor) -> Tensor:
    """Return the mean cross-entropy of the known corners against their softened targets; 0 if none is known."""
    known = box[:, 0] != NOTHING
    scores = torch.log_softmax(head(states[known]).view(-1, 4, 101), dim=-1)
    return -(softened[box[known]] * scores).sum() / (4 * known.sum()).clamp(min=1)
