"""The opinions of annotators in a merged dataset: each is kept, under the name its clip has there.

A name is one person's in all datasets. What she said twice of a clip is taken once; if she said two things, one of them
is wrong, and a person must say which. Left out: how far annotators agree, which validation asks.
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
class Merged:
    """Opinions sorted by clip and annotator, and how many came in; the difference were there twice."""

    opinions: Sequence[Opinion]
    received: int


def merge_opinions(origins: Sequence[Origin]) -> Merged:
    """Return each opinion of the datasets once.

    Raises:
        CacError: a file cannot be read, a line is no opinion on a clip of its dataset, or an annotator said two things
            of one clip; the message lists all of them.
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
            if _said(first[1]) != _said(opinion):
                problems.append(f"{where}: {opinion.annotator} says something else of {opinion.clip_id} in {first[0]}")
    if problems:
        raise CacError(
            f"{len(problems)} opinions cannot be merged, so nothing was. Mend or leave out:"
            + "".join(f"\n  {problem}" for problem in problems)
        )
    return Merged([kept[key][1] for key in sorted(kept)], received)


def write_opinions(dataset: Path, opinions: Sequence[Opinion]) -> None:
    """Write the opinions beside the manifest; none leave no file."""
    if opinions:
        lines = (json.dumps(opinion.model_dump(mode="json"), sort_keys=True) + "\n" for opinion in opinions)
        (dataset / OPINIONS_NAME).write_text("".join(lines), encoding="utf-8")


def _lines(dataset: Path) -> Iterator[tuple[int, bytes | None]]:
    path = dataset / OPINIONS_NAME
    return iter_lines(path, "Reading opinions") if path.exists() else iter(())


def _parse(line: bytes | None, kept_as: Mapping[str, str]) -> Opinion:
    """Return an opinion under its clip's name in the merged dataset.

    Raises:
        ValueError: the line is none, or its clip is unknown; the message says what is wrong.
    """
    if line is None:
        raise ValueError(f"longer than {MAX_BYTES >> 20} MiB")
    try:
        opinion = Opinion.model_validate(json.loads(line))
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'opinion'}: {e['msg']}" for e in error.errors())
        raise ValueError(said) from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({error})") from error
    if opinion.clip_id not in kept_as:
        raise ValueError(f"no clip of the dataset is called {opinion.clip_id!r}")
    return opinion.model_copy(update={"clip_id": kept_as[opinion.clip_id]})


def _said(opinion: Opinion) -> list[str]:
    """Return what an opinion says; the order in which it is said does not count."""
    return sorted(anomaly.model_dump_json() for anomaly in opinion.anomalies)
