"""Dense labels of clips: what has changed on each image token's thing, and how that thing was before.

Comparing frames is the hardest thing the base learns. From answers alone it never did: their flags can be guessed from
one another and from the number of dense frames. A label for every image token, on clips of two frames to begin with,
teaches it in minutes. The heads are thrown away; what they made the layers compute is what the answers then read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from generic_scenes import CELL, CHANGES, CLIP_SIZE, NOTHING, ChangedClip, cell_owners
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cac.data.render import COLOURS, KINDS, extent

PAST_LAYER, CHANGE_LAYER = 2, 3  # after which layer of four the heads read: later ones are left to the answers
BOX_WEIGHT, LOOK_WEIGHT = 0.5, 0.3


@dataclass(frozen=True)
class ClipLabels:
    """Labels of the frames a dialogue shows, in the order of their tokens; `NOTHING` where there is none.

    Attributes:
        change: of each token, 0 if its thing is as usual, else 1 + the change: (tokens,).
        frame: the same for each frame, 0 if every thing in it is as usual: (frames,).
        past_box: where the token's thing was in the frame shown before, corners in 0 to 100: (tokens, 4).
        usual_colour: the usual colour of a changed thing: (tokens,).
        usual_kind: its usual kind: (tokens,).
    """

    change: np.ndarray
    frame: np.ndarray
    past_box: np.ndarray
    usual_colour: np.ndarray
    usual_kind: np.ndarray


def joined(parts: Sequence[ClipLabels]) -> ClipLabels:
    """Put the labels of several looks or clips one after the other."""
    names = [field.name for field in fields(ClipLabels)]
    return ClipLabels(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def label_clip(clip: ChangedClip, frames: Sequence[int], size: int) -> ClipLabels:
    """Label the given frames of a clip, shown at `size` pixels."""
    before = [frames[0], *frames[:-1]]
    return joined([_label_frame(clip, frame, last, size // CELL) for frame, last in zip(frames, before, strict=True)])


def _label_frame(clip: ChangedClip, frame: int, before: int, grid: int) -> ClipLabels:
    actors = clip.scene.actors
    owner = cell_owners([actor[frame] for actor in actors], grid)
    change = np.where(owner < 0, NOTHING, 0)
    past_box = np.full((len(owner), 4), NOTHING)
    colour, kind = np.full(len(owner), NOTHING), np.full(len(owner), NOTHING)
    for index, actor in enumerate(actors):
        if actor[frame].visible and actor[before].visible:
            past_box[owner == index] = [round(100 * value) for value in extent(actor[before], CLIP_SIZE, CLIP_SIZE)]
    for event in clip.events:
        if event.at(frame):
            mine, state = owner == event.actor, clip.usual.actors[event.actor][frame]
            change[mine] = 1 + CHANGES.index(event.word)
            colour[mine], kind[mine] = list(COLOURS).index(state.colour), KINDS.index(state.kind)
    seen = clip.event_at(frame)
    return ClipLabels(change, np.array([1 + CHANGES.index(seen.word) if seen else 0]), past_box, colour, kind)


class ClipHeads(nn.Module):
    """What is read off the language model's image tokens, and off the token that closes each frame."""

    def __init__(self, width: int):
        super().__init__()
        self.change = nn.Linear(width, 1 + len(CHANGES))
        self.frame = nn.Linear(width, 1 + len(CHANGES))
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
        places: where the image tokens are and where the tokens that close a frame: boolean (batch, length) each.
        labels: of all image tokens and frames of the batch, in order.
        softened: the soft target of each coordinate: (101, 101).
    """
    image, closing = places
    past, late = states[PAST_LAYER][image], states[CHANGE_LAYER]
    loss = cross_entropy(heads.change(late[image]), torch.from_numpy(labels.change), ignore_index=NOTHING)
    loss = loss + cross_entropy(heads.frame(late[closing]), torch.from_numpy(labels.frame))
    box = torch.from_numpy(labels.past_box)
    has = box[:, 0] != NOTHING
    scores = torch.log_softmax(heads.past_box(past[has]).view(-1, 4, 101), dim=-1)
    loss = loss - BOX_WEIGHT * (softened[box[has]] * scores).sum(-1).mean()
    for head, looks in ((heads.usual_colour, labels.usual_colour), (heads.usual_kind, labels.usual_kind)):
        target = torch.from_numpy(looks)
        if (target != NOTHING).any():
            loss = loss + LOOK_WEIGHT * cross_entropy(head(past), target, ignore_index=NOTHING)
    return loss
