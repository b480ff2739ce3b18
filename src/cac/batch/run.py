"""`cac score-batch`: score every video below a source into one Parquet file, one row per video.

A video that cannot be scored gets a row with the reason and does not stop the run. An unreachable store does stop it;
the next run resumes. Adding new files to a finished table is not supported.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac.batch.listing import open_source, sample
from cac.batch.parts_folder import PartsFolder
from cac.batch.plan import BatchSettings, Plan, plan_difference
from cac.batch.rows import part_rows
from cac.batch.table import join_parts, read_columns, read_provenance, write_part
from cac.errors import CacError
from cac.io.progress import track

__all__ = ["BatchSettings", "Engine", "Summary", "score_batch"]

# Makes the rows of the parts with these numbers, in any order: (number, rows).
Engine = Callable[[Plan, Sequence[int]], Iterator[tuple[int, list[dict[str, Any]]]]]

_HINT = "Use --restart to start over, or choose another --out."


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    Attributes:
        model: the version that scored, `models:/NAME/NUMBER`.
        videos: rows of the table.
        failures: (video, reason) of the videos without a score.
        written: whether this run wrote the table; false if it existed already.
    """

    model: str
    videos: int
    failures: tuple[tuple[str, str], ...]
    written: bool


def one_process(plan: Plan, numbers: Sequence[int]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Compute the rows of the parts in this process, one part after the other."""
    from cac.registry.pinned import pin

    pinned = pin(plan.model, plan.settings.device)
    parts = plan.parts
    rows = part_rows(pinned, open_source(plan.source), plan.settings, [parts[number] for number in numbers])
    yield from zip(numbers, rows, strict=True)


def score_batch(
    source: str,
    out: Path,
    uri: str,
    settings: BatchSettings,
    restart: bool = False,
    most: int | None = None,
    engine: Engine = one_process,
) -> Summary:
    """Score the videos below `source` into the table `out`; an interrupted run is resumed.

    Args:
        source: a folder, or `s3://bucket/prefix`.
        out: the Parquet file. Until it is complete, a folder beside it holds the parts.
        uri: `models:/NAME/NUMBER` or `models:/NAME@ALIAS`, resolved once.
        settings: for reading and judging.
        restart: discard the results of an earlier run; its table is replaced once the new one is complete.
        most: maximum number of videos to score (`listing.sample`).
        engine: computes the rows; a resumed run may use another one.

    Raises:
        CacError: there are no videos, no such version, `out` belongs to another run, or a store does not answer.
    """
    from cac.registry.model_uri import resolve_version

    settings.check()
    videos = tuple(sample(open_source(source).videos(), most))
    plan = Plan(source, resolve_version(uri), settings, videos)
    if not plan.videos:
        raise CacError(f"no videos below {source}. Give a folder of videos, or s3://bucket/prefix.")
    work = PartsFolder(out)
    with work.locked():
        if restart:
            _check_own_table(out)
            work.empty()
        begun = work.plan()
        if begun is None and out.exists() and not restart:
            _check_finished(out, plan)
            work.clear()
            return _summary(out, plan.model, written=False)
        _begin(work, begun, plan)
        _score_missing(work, plan, engine)
        join_parts([work.part(number) for number in range(len(plan.parts))], out, work.joined, plan.provenance())
        work.clear()
    return _summary(out, plan.model, written=True)


def _begin(work: PartsFolder, begun: Plan | None, plan: Plan) -> None:
    if begun is None:
        work.begin(plan)
        return
    changed = plan_difference(begun, plan)
    if changed:
        raise CacError(f"an interrupted run is writing {work.out}, but {changed}. Repeat its arguments, or: {_HINT}")


def _check_own_table(out: Path) -> None:
    """Check that what a restart replaces is a table of an earlier run, and not a file of somebody else."""
    if out.exists() and read_provenance(out) is None:
        raise CacError(f"{out} was not written by `cac score-batch`, so it is not replaced. Choose another --out.")


def _check_finished(out: Path, plan: Plan) -> None:
    """Check that an existing table is the requested one. Files of the same name and size count as the same."""
    if read_provenance(out) != plan.provenance():
        raise CacError(
            f"{out} exists, and was written with another model, with other settings, or by another program. {_HINT}"
        )
    there = read_columns(out, "video", "size_bytes")
    if there != [(video.name, video.size) for video in plan.videos]:
        raise CacError(f"{out} exists, but its videos differ from those below {plan.source} now. {_HINT}")


def _score_missing(work: PartsFolder, plan: Plan, engine: Engine) -> None:
    missing = [number for number in range(len(plan.parts)) if not work.part(number).is_file()]
    if not missing:
        return
    parts = plan.parts
    done = len(plan.videos) - sum(len(parts[number]) for number in missing)
    scored = engine(plan, missing)
    for number, rows in track(scored, "Scoring videos", len(plan.videos), done, steps=lambda part: len(part[1])):
        write_part(work.part(number), rows)


def _summary(out: Path, model: str, written: bool) -> Summary:
    rows = read_columns(out, "video", "error")
    failures = tuple((video, error) for video, error in rows if error is not None)
    return Summary(model, len(rows), failures, written)
