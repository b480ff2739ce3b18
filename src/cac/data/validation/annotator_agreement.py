"""How far several annotators of the same clip agree.

`annotations.jsonl` holds the one annotation of a clip that is trained on. A dataset may also have `opinions.jsonl`: one
annotator's opinion on one clip a line, with no anomalies if the annotator found none. Only validation reads it. Out of
scope: making one annotation of several, which takes a person.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cac.data.validation.clip_facts import truncate
from cac.data.validation.facts_table import FactsTable
from cac.io.jsonl import MAX_BYTES, iter_lines
from cac.schema.annotations import Anomaly
from cac.schema.geometry import Window, merge_windows, temporal_iou
from cac.schema.taxonomy import Family

OPINIONS_NAME = "opinions.jsonl"

_INSERT = "INSERT INTO opinions VALUES (?, ?, ?, ?, ?)"
_UNKNOWN = """
UPDATE opinions SET opinion_problem = 'line ' || line || ': no clip of the dataset has this clip_id'
WHERE opinion_problem IS NULL AND clip_id NOT IN (SELECT clip_id FROM clips WHERE clip_id IS NOT NULL)
"""
_TWICE = """
UPDATE opinions SET opinion_problem = 'line ' || line || ': not the first opinion of this annotator on this clip'
WHERE opinion_problem IS NULL AND line NOT IN
    (SELECT MIN(line) FROM opinions WHERE opinion_problem IS NULL GROUP BY clip_id, annotator)
"""


class Opinion(BaseModel):
    """One annotator's annotations of one clip."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    clip_id: str = Field(min_length=1)
    annotator: str = Field(min_length=1)  # a name or a number, the same in all opinions
    anomalies: tuple[Anomaly, ...]

    @field_validator("anomalies", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("anomalies")
    @classmethod
    def _have_windows(cls, value: tuple[Anomaly, ...]) -> tuple[Anomaly, ...]:
        if any(anomaly.window is None for anomaly in value):
            raise ValueError("an opinion needs a window [start, end] of each anomaly, to be compared with others")
        return value


def record_agreement(dataset: Path, table: FactsTable, min_agreement: float) -> dict[str, object] | None:
    """Read the opinions into the table and note clips on which two annotators agree less than `min_agreement`.

    Returns:
        The numbers of opinions, annotators and clips with several opinions; over all pairs of opinions on a clip, the
        mean agreement (`agreement`) and the ratio with the same verdict. None if the dataset has no opinions.

    Raises:
        CacError: the file cannot be read.
    """
    path = dataset / OPINIONS_NAME
    if not path.exists():
        return None
    for number, line in iter_lines(path, "Reading opinions"):
        table.execute(_INSERT, number, *_read(line, number))
    table.execute("CREATE INDEX by_opinion ON opinions (clip_id, annotator)")
    table.execute(_UNKNOWN)
    table.execute(_TWICE)
    counted = _note_disagreement(table, min_agreement)
    [(opinions, annotators)] = table.select("SELECT COUNT(*), COUNT(DISTINCT annotator) FROM opinions")
    return {"opinions": opinions, "annotators": annotators, **counted}


def agreement(first: Sequence[tuple[Family, Window]], second: Sequence[tuple[Family, Window]]) -> float:
    """Return the agreement of two opinions, given as (family, window) of each anomaly, from 0 to 1.

    1 if both are clean, else the intersection over union of the windows over all families; windows of different
    families do not overlap. So it is 0 if only one annotator found an anomaly, or each found another family.
    """
    families = {family for family, _ in (*first, *second)}
    if not families:
        return 1.0
    # The families' windows one after another on one time axis, so far apart that they cannot touch.
    far = 2 * max(abs(time) for _, window in (*first, *second) for time in window) + 1
    shift = {family: place * far for place, family in enumerate(sorted(families))}
    return temporal_iou(_shifted(first, shift), _shifted(second, shift))


def _shifted(said: Sequence[tuple[Family, Window]], shift: dict[Family, float]) -> list[Window]:
    return merge_windows([(start + shift[family], end + shift[family]) for family, (start, end) in said])


def _read(line: bytes | None, number: int) -> tuple[str | None, str | None, str | None, str | None]:
    """Return clip_id, annotator, the anomalies as JSON, and what is wrong with the line."""
    if line is None:
        return None, None, None, f"line {number}: longer than {MAX_BYTES >> 20} MiB"
    try:
        opinion = Opinion.model_validate(json.loads(line))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'opinion'}: {e['msg']}" for e in error.errors())
        return None, None, None, truncate(f"line {number}: {problems}")
    except (ValueError, OverflowError, RecursionError) as error:
        return None, None, None, truncate(f"line {number}: not valid JSON ({error})")
    said = json.dumps([[one.family.value, one.leaf, *(one.window or ())] for one in opinion.anomalies])
    return opinion.clip_id, opinion.annotator, said, None


def _note_disagreement(table: FactsTable, min_agreement: float) -> dict[str, object]:
    clips = pairs = same_verdict = 0
    total = 0.0
    for clip_id, said in _by_clip(table):
        clips += len(said) > 1
        for (name, first), (other, second) in combinations(said, 2):
            agreed = agreement(_families(first), _families(second))
            pairs, total, same_verdict = pairs + 1, total + agreed, same_verdict + (bool(first) == bool(second))
            if agreed < min_agreement:
                problem = truncate(f"agreement {agreed:.2f}: {name} {_describe(first)}, {other} {_describe(second)}")
                for (line,) in list(table.select("SELECT line FROM clips WHERE clip_id = ?", clip_id)):
                    table.note(line, "annotators", problem)
    means = (total, same_verdict)
    agreed_mean, verdict_share = (round(value / pairs, 6) if pairs else None for value in means)
    return {"clips_with_several": clips, "mean_agreement": agreed_mean, "same_verdict": verdict_share}


def _by_clip(table: FactsTable) -> Iterator[tuple[str, list[tuple[str, list[list[Any]]]]]]:
    """Yield (clip_id, [(annotator, anomalies)]), one clip after another."""
    rows = table.select("SELECT clip_id, annotator, said FROM opinions WHERE opinion_problem IS NULL "
                        "ORDER BY clip_id, annotator")  # fmt: skip
    for clip_id, group in groupby(rows, key=lambda row: row[0]):
        yield clip_id, [(annotator, json.loads(said)) for _, annotator, said in group]


def _families(said: list[list[Any]]) -> list[tuple[Family, Window]]:
    return [(Family(family), (start, end)) for family, _, start, end in said]


def _describe(said: list[list[Any]]) -> str:
    return ", ".join(f"{leaf} {start:g} to {end:g} s" for _, leaf, start, end in said) or "nothing"
