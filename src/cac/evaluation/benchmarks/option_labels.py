"""The label map for options to choose from: every option needs a line, because nothing is guessed."""

import json
from collections import Counter

from cac.data.exchange.label_map import IGNORE, LabelMap
from cac.errors import CacError
from cac.schema.taxonomy import LEAVES


def leaf_of_option(label: str, label_map: LabelMap) -> str | None:
    """Return the leaf of an option's name, `ignore`, or None if the label map does not know it."""
    return label_map.labels.get(label, label if label in LEAVES else None)


def require_options_mapped(labels: Counter[str], label_map: LabelMap) -> None:
    """Check that the label map knows every option.

    Raises:
        CacError: it does not; the message shows the lines to add.
    """
    unknown = [label for label, _ in labels.most_common() if leaf_of_option(label, label_map) is None]
    if not unknown:
        return
    lines = "\n".join(f"  {json.dumps(label, ensure_ascii=False)}: {IGNORE}  # or a leaf" for label in unknown)
    raise CacError(
        f"{len(unknown)} options are not in the label map. Add them to a file and name it with --label-map; "
        f"`{IGNORE}` is for what no leaf stands for:\nlabels:\n{lines}\nLeaves: {', '.join(LEAVES)}."
    )
