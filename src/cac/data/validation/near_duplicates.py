"""Near-duplicate clips in different splits, noted in the table of facts.

The checks `pair_leak` and `file_leak` handle clips of one pair and clips with the same content. Out of scope: the
comparison (`perceptual_hash.py`).
"""

from cac.data.validation.facts_table import FactsTable
from cac.data.validation.perceptual_hash import nearest_of_other_splits

_CLIP = "SELECT clip_id, split, pair_id, file_sha256 FROM clips WHERE line = ?"


def note_near_duplicates(table: FactsTable, most: float) -> None:
    """Note, for each clip, the nearest clip of another split, if at most the share `most` of their bits differ."""
    clips = table.select("SELECT line, split, perceptual_hash FROM clips "
                         "WHERE perceptual_hash IS NOT NULL AND split IS NOT NULL ORDER BY line")  # fmt: skip
    for line, other, distance in nearest_of_other_splits(clips, most):
        [(_, _, pair_id, content)] = table.select(_CLIP, line)
        [(name, split, other_pair, other_content)] = table.select(_CLIP, other)
        if pair_id != other_pair and content != other_content:
            table.note(line, "near_duplicate", f"{name} in {split}: {distance:.1%} of the bits differ")
