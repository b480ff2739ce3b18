"""Clips without video files, for tests and benchmarks that read only the manifest."""

import random
from collections.abc import Iterator, Sequence

from cac.schema.annotations import Anomaly, Clip, FrameBox, Split
from cac.schema.taxonomy import LEAVES

_SPLITS: tuple[Split, ...] = ("train", "train", "train", "train", "val", "test")


def invented_clips(count: int) -> Iterator[Clip]:
    """Yield `count` clips, clean and anomalous in turn; the same number gives the same clips."""
    leaves, chance = list(LEAVES.values()), random.Random(7)
    for number in range(count):
        pair = number // 2
        leaf = leaves[pair % len(leaves)]
        anomalies: Sequence[Anomaly] = ()
        if number % 2:
            x, y = chance.uniform(0, 0.5), chance.uniform(0, 0.5)
            boxes = tuple(FrameBox(frame=i, box=(x, y, x + 0.3, y + 0.4)) for i in range(4, 14))
            anomalies = (Anomaly(family=leaf.family, leaf=leaf.name, window=(0.5, 1.75), boxes=boxes, saliency=0.5),)
        yield Clip(
            clip_id=f"clip{number:08d}",
            path=f"clips/clip{number:08d}.mp4",
            sha256=f"{number:064x}",
            fps=8.0,
            frame_count=chance.randint(16, 32),
            width=96,
            height=96,
            source="invented",
            generator="invented",
            split=_SPLITS[pair % len(_SPLITS)],
            pair_id=f"pair{pair:08d}",
            anomalies=tuple(anomalies),
        )
