"""Selects the clips to show: a number of them, mixed over the kinds of anomaly, or clips by id.

Drawing is in `video/sheets.py`.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, zip_longest

from cac.errors import CacError
from cac.schema.annotations import Clip


def select_clips(clips: Sequence[Clip], wanted: str) -> list[Clip]:
    """Return the clips `wanted` names: a count, or clip ids with commas between.

    A count takes anomalous clips of each leaf in turn, so that a few clips show every kind.

    Raises:
        CacError: an id is not in the dataset, or the count is not positive.
    """
    if wanted.isdigit():
        return _one_of_each(clips, int(wanted))
    by_id = {clip.clip_id: clip for clip in clips}
    ids = [name.strip() for name in wanted.split(",")]
    unknown = [name for name in ids if name not in by_id]
    if unknown:
        raise CacError(f"no clip {', '.join(unknown)} in the dataset. Ids look like {next(iter(by_id), 'none')}.")
    return [by_id[name] for name in ids]


def _one_of_each(clips: Sequence[Clip], count: int) -> list[Clip]:
    if count < 1:
        raise CacError(f"--clips {count} must be at least 1.")
    by_leaf: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if not clip.is_clean:
            by_leaf[clip.anomalies[0].leaf].append(clip)
    turns = zip_longest(*(by_leaf[leaf] for leaf in sorted(by_leaf)))
    return [clip for clip in chain.from_iterable(turns) if clip is not None][:count]
