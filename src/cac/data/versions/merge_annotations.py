"""Annotators' opinions (`opinions.jsonl`) in a merged dataset: each is kept, under the name of its clip there.

A name is the same person in all datasets. The same opinion of an annotator on a clip is kept once; two different ones
are refused, because a person must decide. Out of scope: how far annotators agree, which validation measures.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from cac.data.validation.annotator_agreement import OPINIONS_NAME, Opinion
from cac.errors import CacError
from cac.io.jsonl import MAX_BYTES, iter_lines


@dataclass(frozen=True)
class Origin:
    """A dataset that may have opinions.

    Attributes:
        name: as the user named it.
        folder: where it is.
        kept_as: {clip id in this dataset: clip id in the merged one}.
    """

    name: str
    folder: Path
    kept_as: Mapping[str, str]


@dataclass(frozen=True)
class MergedOpinions:
    """Opinions sorted by clip and annotator, and how many were read; the others were duplicates."""

    opinions: Sequence[Opinion]
    received: int


def merge_opinions(origins: Sequence[Origin]) -> MergedOpinions:
    """Return each opinion of the datasets once.

    Raises:
        CacError: a file cannot be read, a line is not an opinion on a clip of its dataset, or an annotator has two
            opinions on one clip; the message lists all of them.
    """
    kept: dict[tuple[str, str], tuple[str, Opinion]] = {}
    problems, received = [], 0
    for origin in origins:
        for number, line in _lines(origin.folder):
            received += 1
            where = f"{origin.folder / OPINIONS_NAME}:{number}"
            try:
                opinion = _parse(line, origin.kept_as)
            except ValueError as error:
                problems.append(f"{where}: {error}")
                continue
            first = kept.setdefault((opinion.clip_id, opinion.annotator), (where, opinion))
            if _content(first[1]) != _content(opinion):
                problems.append(f"{where}: {opinion.annotator} has another opinion on {opinion.clip_id} in {first[0]}")
    if problems:
        raise CacError(
            f"{len(problems)} opinions cannot be merged, so nothing was. Correct or remove:"
            + "".join(f"\n  {problem}" for problem in problems)
        )
    return MergedOpinions([kept[key][1] for key in sorted(kept)], received)


def write_opinions(dataset: Path, opinions: Sequence[Opinion]) -> None:
    """Write the opinions beside the manifest; without opinions there is no file."""
    if opinions:
        lines = (json.dumps(opinion.model_dump(mode="json"), sort_keys=True) + "\n" for opinion in opinions)
        (dataset / OPINIONS_NAME).write_text("".join(lines), encoding="utf-8")


def _lines(dataset: Path) -> Iterator[tuple[int, bytes | None]]:
    path = dataset / OPINIONS_NAME
    return iter_lines(path, "Reading opinions") if path.exists() else iter(())


def _parse(line: bytes | None, kept_as: Mapping[str, str]) -> Opinion:
    """Return an opinion under its clip's name in the merged dataset.

    Raises:
        ValueError: the line is not an opinion, or its clip is unknown; the message says what is wrong.
    """
    if line is None:
        raise ValueError(f"longer than {MAX_BYTES >> 20} MiB")
    try:
        opinion = Opinion.model_validate(json.loads(line))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'opinion'}: {e['msg']}" for e in error.errors())
        raise ValueError(problems) from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({error})") from error
    if opinion.clip_id not in kept_as:
        raise ValueError(f"no clip of the dataset has the id {opinion.clip_id!r}")
    return opinion.model_copy(update={"clip_id": kept_as[opinion.clip_id]})


def _content(opinion: Opinion) -> list[str]:
    """Return an opinion's content as a comparable value; the order of anomalies does not matter."""
    return sorted(anomaly.model_dump_json() for anomaly in opinion.anomalies)
