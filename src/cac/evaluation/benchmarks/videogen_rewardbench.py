"""VideoGen-RewardBench (arXiv 2501.13918): pairs of videos of one prompt with preferences in four respects.

Read from `videogen-rewardbench.csv` in the folder. `VQ` (visual quality), `MQ` (motion quality), `TA` (text alignment)
and `Overall` are `A`, `B` or `same`. The columns are those that its evaluation code and its training data use.
"""

from functools import partial
from pathlib import Path

from cac.data.exchange.label_map import LabelMap
from cac.data.exchange.unusable import UnusableError
from cac.evaluation.benchmarks.questions import FIRST, SECOND, TIE, Pair, Reading
from cac.evaluation.benchmarks.rows import Row, check_fields, csv_rows, one_of, read_rows, required_text

FILE = "videogen-rewardbench.csv"
RESPECTS = ("VQ", "MQ", "TA", "Overall")
_FIELDS = (
    *("path_A", "path_B", "A_model", "B_model", "prompt"),
    *("fps_A", "num_frames_A", "fps_B", "num_frames_B"),
    *RESPECTS,
)
_ANSWERS = {"A": FIRST, "B": SECOND, "same": TIE}


def read(folder: Path, label_map: LabelMap) -> Reading:
    """Return the pairs.

    Raises:
        CacError: the file is missing or no CSV.
    """
    return read_rows(csv_rows(folder / FILE), partial(_read_row, label_map))


def _read_row(label_map: LabelMap, where: str, row: Row) -> Pair:
    check_fields(row, _FIELDS, label_map)
    first, second = required_text(row, "path_A"), required_text(row, "path_B")
    if first == second:
        raise UnusableError("a pair of one video with itself")
    preferences = {name: one_of(row, name, _ANSWERS) for name in RESPECTS if name in row}
    if not preferences:
        raise UnusableError(f"no preference: none of {', '.join(RESPECTS)}")
    return Pair(where, first, second, preferences, required_text(row, "prompt"))
