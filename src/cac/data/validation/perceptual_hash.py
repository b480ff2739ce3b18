"""Perceptual hashes: a clip's appearance in 1024 bits, and near duplicates between splits.

Difference hash (Krawetz 2013, "Kind of Like That"): a frame is shrunk to 17 x 16 grey pixels. Each bit says whether a
pixel is brighter than its left neighbour by more than coding noise. Four frames spread over the clip make 1024 bits.
The distance of two clips is the ratio of differing bits. It is robust to another size, codec or quality, but not to a
crop, a mirror image or another cut of the same video. Out of scope: decoding.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

FRAMES = 4  # of a clip
WIDTH, HEIGHT = 17, 16  # of a shrunk frame, pixels
MIN_DIFFERENCE = 6  # grey levels of 255; with 0, encoding a clip again changed as many bits as taking another clip
BITS = FRAMES * (WIDTH - 1) * HEIGHT

_BLOCK = 512  # clips of one split that are compared at once with as many of another; a word of each takes 2 MB


def perceptual_hash(frames: "Sequence[np.ndarray]") -> bytes:
    """Return the hash of a clip: `BITS` bits as bytes.

    Args:
        frames: its frames, grey uint8 of shape (`HEIGHT`, `WIDTH`); a clip with fewer than `FRAMES` repeats its last.
    """
    import numpy as np

    grey = np.stack([*frames, *[frames[-1]] * (FRAMES - len(frames))]).astype(np.int16)
    return np.packbits(grey[:, :, 1:] - grey[:, :, :-1] > MIN_DIFFERENCE).tobytes()


def nearest_of_other_splits(clips: "Iterable[tuple[int, str, bytes]]", most: float) -> Iterator[tuple[int, int, float]]:
    """Yield (clip, other, distance) of each clip whose nearest clip in another split is at most `most` away.

    Every clip is compared with every clip of the other splits, so the time grows with the square of their number; it
    takes 150 bytes of memory a clip. Of equally near clips the first is returned.

    Args:
        clips: (number, split, hash).
        most: ratio of differing bits, from 0 to 1.
    """
    import numpy as np

    by_split: dict[str, tuple[list[int], bytearray]] = {}
    for number, split, bits in clips:
        numbers, held = by_split.setdefault(split, ([], bytearray()))
        numbers.append(number)
        held += bits
    sides = [_SplitHashes(np.array(numbers), np.frombuffer(held, np.uint64).reshape(len(numbers), -1))
             for _, (numbers, held) in sorted(by_split.items())]  # fmt: skip
    for place, side in enumerate(sides):
        for other in sides[place + 1 :]:
            _compare_splits(side, other)
    for side in sides:
        for row in np.flatnonzero(side.distances <= int(most * BITS + 1e-9)):
            yield int(side.numbers[row]), int(side.nearest[row]), int(side.distances[row]) / BITS


class _SplitHashes:
    """The clips of one split: numbers, hashes, and for each the nearest clip so far and its distance in bits."""

    def __init__(self, numbers: "np.ndarray", hashes: "np.ndarray"):
        import numpy as np

        self.numbers, self.hashes = numbers, hashes
        self.nearest = np.zeros(len(numbers), np.int64)
        self.distances = np.full(len(numbers), BITS + 1, np.uint16)

    def update(self, rows: slice, differing: "np.ndarray", numbers: "np.ndarray") -> None:
        """Update the nearest clips of some rows with the differing bits, (rows, numbers), to the clips `numbers`."""
        least = differing.min(axis=1)
        nearer = least < self.distances[rows]
        self.distances[rows][nearer] = least[nearer]
        self.nearest[rows][nearer] = numbers[differing.argmin(axis=1)][nearer]


def _compare_splits(side: _SplitHashes, other: _SplitHashes) -> None:
    """Compare all clips of two splits, block by block."""
    import numpy as np

    for top in range(0, len(side.numbers), _BLOCK):
        rows = slice(top, top + _BLOCK)
        for left in range(0, len(other.numbers), _BLOCK):
            columns = slice(left, left + _BLOCK)
            a, b = side.hashes[rows], other.hashes[columns]
            differing = np.zeros((len(a), len(b)), np.uint16)
            for word in range(a.shape[1]):
                differing += np.bitwise_count(a[:, None, word] ^ b[None, :, word])
            side.update(rows, differing, other.numbers[columns])
            other.update(columns, differing.T, side.numbers[rows])
