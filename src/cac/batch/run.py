"""`cac score-batch`: every video below a place into one Parquet file, a row a video.

What cannot be scored gets a row with the reason and keeps no other from its score. A store that does not answer is not
such a reason: the run ends then, and the next one goes on. Left out: adding new files to a finished table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cac.batch.listing import Source, open_source, sample
from cac.batch.plan import BatchSettings, Plan, difference
from cac.batch.rows import part_rows
from cac.batch.table import join_parts, read_columns, read_made_with, write_part
from cac.batch.work import Work
from cac.errors import CacError

__all__ = ["BatchSettings", "Summary", "score_batch"]

_ANEW = "Give --restart to begin anew, or name another --out."


@dataclass(frozen=True)
class Summary:
    """What came of a run.

    Attributes:
        model: the version that scored, `models:/NAME/NUMBER`.
        videos: rows of the table.
        failures: (video, reason) of those without a score.
        written: whether this run wrote the table; false if it was there already.
    """

    model: str
    videos: int
    failures: tuple[tuple[str, str], ...]
    written: bool


def score_batch(
    source: str, out: Path, uri: str, settings: BatchSettings, restart: bool = False, most: int | None = None
) -> Summary:
    """Score the videos below `source` into the table `out`, going on with a run that was cut off.

    Args:
        source: a folder, or `s3://bucket/prefix`.
        out: the Parquet file. Until it is whole, a folder beside it holds the parts.
        uri: `models:/NAME/NUMBER` or `models:/NAME@ALIAS`, resolved once.
        settings: how videos are read and judged.
        restart: throw away what an earlier run left, the table included.
        most: score so many of the videos, if there are more (`listing.sample`).

    Raises:
        CacError: there is nothing to score, no such version, `out` is of another run, or a store does not answer.
    """
    from cac.rl.pinned import resolve_version

    settings.check()
    reader = open_source(source)
    plan = Plan(source, resolve_version(uri), settings, tuple(sample(reader.videos(), most)))
    if not plan.videos:
        raise CacError(f"no videos below {source}. Name a folder of videos, or s3://bucket/prefix.")
    work = Work(out)
    with work.locked():
        if restart:
            out.unlink(missing_ok=True)
            work.empty()
        begun = work.plan()
        if begun is None and out.exists():
            work.clear()
            _check_finished(out, plan)
            return _summary(out, plan.model, written=False)
        _begin(work, begun, plan)
        _score_missing(work, plan, reader)
        join_parts([work.part(number) for number in range(len(plan.parts))], out, work.joined, plan.made_with())
        work.clear()
    return _summary(out, plan.model, written=True)


def _begin(work: Work, begun: Plan | None, plan: Plan) -> None:
    if begun is None:
        work.begin(plan)
        return
    changed = difference(begun, plan)
    if changed:
        raise CacError(f"a run that was cut off is to make {work.out}, but {changed}. Ask for the same, or: {_ANEW}")


def _check_finished(out: Path, plan: Plan) -> None:
    """See that a table that is there is the one asked for. Files of the same name and size count as the same."""
    if read_made_with(out) != plan.made_with():
        raise CacError(f"{out} exists, and was made with another model or other settings, or by others. {_ANEW}")
    there = read_columns(out, "video", "size_bytes")
    if there != [(video.name, video.size) for video in plan.videos]:
        raise CacError(f"{out} exists, and is of other videos than are below {plan.source} now. {_ANEW}")


def _score_missing(work: Work, plan: Plan, reader: Source) -> None:
    missing = [number for number in range(len(plan.parts)) if not work.part(number).is_file()]
    if not missing:
        return
    from cac.rl.pinned import pin

    pinned = pin(plan.model, plan.settings.device)
    done = len(plan.videos) - sum(len(plan.parts[number]) for number in missing)
    parts = [plan.parts[number] for number in missing]
    rows = part_rows(pinned, reader, plan.settings, parts)
    for number, written in zip(missing, _with_progress(rows, done, len(plan.videos)), strict=True):
        write_part(work.part(number), written)


def _with_progress(parts: Iterator[list[dict]], done: int, total: int) -> Iterator[list[dict]]:
    """Pass the parts on, and show on stderr how many videos are done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("scoring videos", total=total, completed=done)
        for rows in parts:
            yield rows
            progress.advance(task, len(rows))


def _summary(out: Path, model: str, written: bool) -> Summary:
    rows = read_columns(out, "video", "error")
    failures = tuple((video, error) for video, error in rows if error is not None)
    return Summary(model, len(rows), failures, written)
