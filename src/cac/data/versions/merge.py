"""`cac data merge`: merge several datasets into one, completely or not at all, with a report.

A clip that occurs twice is kept once, under its name in the dataset that was named first. Pairs that share a clip
become one pair, so that no clip loses its twin. Annotators' opinions are merged too (`merge_annotations.py`). Nothing
else is renamed or chosen: contradictions are refused (`conflicts.py`). Out of scope: checking the result
(`cac data validate`).
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cac.data.atomic_dataset import check_new_dataset, check_not_nested, new_dataset, restore
from cac.data.versions.cards import Card, merge_cards, read_card, write_card
from cac.data.versions.conflicts import SourcedClip, check_groups_intact, check_no_contradictions
from cac.data.versions.groups import SplitRatios, assign_splits
from cac.data.versions.merge_annotations import MergedOpinions, Origin, merge_opinions, write_opinions
from cac.errors import CacError
from cac.io.progress import track
from cac.schema.annotations import Clip, read_clips, write_clips

REPORT_NAME = "merge_report.json"
_NAMES = ("clip_id", "path", "source", "generator")  # names in which two copies of a clip may differ


@dataclass
class SourceReport:
    """How many clips of one dataset were read, kept, and dropped as duplicates."""

    source: str
    received: int
    kept: int = 0
    duplicates: int = 0


@dataclass
class MergeReport:
    """The result of a merge.

    Attributes:
        sources: in the order they were named.
        joined_pairs: {pair: the pair it became part of}, of pairs that share a clip.
        other_names: {clip id: {name: what duplicates have instead}}.
        opinions: how many opinions of annotators were read, and how many were kept.
    """

    sources: list[SourceReport]
    joined_pairs: dict[str, str] = field(default_factory=dict)
    other_names: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    opinions: tuple[int, int] = (0, 0)

    def to_dict(self) -> dict[str, object]:
        """Return the report as plain values."""
        return {
            "clips": _counts(
                sum(one.received for one in self.sources),
                sum(one.kept for one in self.sources),
                sum(one.duplicates for one in self.sources),
            ),
            "sources": [
                {"source": one.source, **_counts(one.received, one.kept, one.duplicates)} for one in self.sources
            ],
            "joined_pairs": self.joined_pairs,
            "other_names": self.other_names,
            "opinions": _counts(*self.opinions, self.opinions[0] - self.opinions[1]),
        }


def _counts(received: int, kept: int, duplicates: int) -> dict[str, int]:
    return {"in": received, "kept": kept, "duplicates": duplicates}


@dataclass(frozen=True)
class _Source:
    name: str
    folder: Path
    clips: list[Clip]
    card: Card


def merge_datasets(
    folders: Sequence[Path], out: Path, ratios: SplitRatios | None = None, *, overwrite: bool = False
) -> MergeReport:
    """Merge datasets into `out`, which may be one of them; with `ratios` all are split again.

    Raises:
        CacError: a dataset cannot be read or a file differs from its manifest; clips or opinions contradict each
            other; without `ratios`, a group of linked clips is in two splits; `out` cannot be written; or, without
            `overwrite`, it holds a dataset that is none of them.
    """
    for folder in folders:
        check_not_nested(folder, out)
    overwrite = overwrite or out.resolve() in (folder.resolve() for folder in folders)
    check_new_dataset(out, overwrite=overwrite)
    sources = [_read(folder) for folder in folders]
    found = [SourcedClip(source.name, clip) for source in sources for clip in source.clips]
    check_no_contradictions(found)
    if ratios is None:
        check_groups_intact(found)
    _check_files(sources)
    kept, report = _deduplicate(sources)
    merged = _merge_opinions(sources, [clip for _, clip in kept])
    report.opinions = (merged.received, len(merged.opinions))
    clips = _join_pairs([clip for _, clip in kept], report)
    card = merge_cards([source.card for source in sources])
    if ratios is not None:
        clips = assign_splits(clips, ratios)
        card["splits"] = ratios.to_dict()
    with new_dataset(out, overwrite=overwrite) as dataset:
        _copy_files(kept, dataset)
        write_clips(dataset, sorted(clips, key=lambda clip: clip.clip_id))
        write_card(dataset, card)
        write_opinions(dataset, merged.opinions)
        text = json.dumps(report.to_dict(), indent=2, sort_keys=True) + "\n"
        (dataset / REPORT_NAME).write_text(text, encoding="utf-8")
    return report


def _read(folder: Path) -> _Source:
    restore(folder)
    return _Source(str(folder), folder, read_clips(folder), read_card(folder))


def _check_files(sources: Sequence[_Source]) -> None:
    """Compare every file with its manifest, so that equal hashes mean equal content."""
    found = [(source, clip) for source in sources for clip in source.clips]
    problems = []
    for source, clip in track(found, "Checking files"):
        problem = _file_problem(source.folder, clip)
        if problem:
            problems.append(f"\n  {clip.clip_id} ({source.name}): {problem}")
    if problems:
        raise CacError(f"{len(problems)} files differ from their manifest, so nothing was merged. Download or repair "
                       f"them:{''.join(problems)}")  # fmt: skip


def _file_problem(folder: Path, clip: Clip) -> str | None:
    relative = PurePosixPath(clip.path)
    if relative.is_absolute() or ".." in relative.parts or relative.parts[:1] != ("clips",):
        return f"{clip.path} does not lie in clips/"
    try:
        with (folder / relative).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        return f"{clip.path}: {getattr(error, 'strerror', None) or error}"
    return None if digest == clip.sha256 else f"{clip.path} has another content"


def _deduplicate(sources: Sequence[_Source]) -> tuple[list[tuple[Path, Clip]], MergeReport]:
    """Return each clip once, with its dataset's folder, and count."""
    report = MergeReport([SourceReport(source.folder.resolve().name, len(source.clips)) for source in sources])
    taken: dict[str, tuple[Path, Clip]] = {}
    pairs = _Pairs()
    for source, count in zip(sources, report.sources, strict=True):
        for clip in source.clips:
            first = taken.setdefault(clip.sha256, (source.folder, clip))[1]
            pairs.link(first.pair_id, clip.pair_id)
            if first is clip:
                count.kept += 1
            else:
                count.duplicates += 1
                _note_names(report, first, clip)
    report.joined_pairs = pairs.joined()
    return list(taken.values()), report


def _merge_opinions(sources: Sequence[_Source], kept: Sequence[Clip]) -> MergedOpinions:
    names = {clip.sha256: clip.clip_id for clip in kept}
    return merge_opinions(
        [Origin(one.name, one.folder, {clip.clip_id: names[clip.sha256] for clip in one.clips}) for one in sources]
    )


class _Pairs:
    """Pairs that share a clip; each is known by its first name."""

    def __init__(self) -> None:
        from networkx.utils import UnionFind

        self._linked = UnionFind()

    def link(self, one: str, other: str) -> None:
        """Note that two pairs share a clip; linking a pair with itself adds it."""
        self._linked.union(one, other)

    def joined(self) -> dict[str, str]:
        """Return {pair: the pair it becomes part of}."""
        first: dict[str, str] = {}
        for pair in self._linked:
            first.setdefault(self._linked[pair], pair)
        return {pair: name for pair in self._linked if (name := first[self._linked[pair]]) != pair}


def _note_names(report: MergeReport, kept: Clip, duplicate: Clip) -> None:
    """Note the names in which a duplicate differs from the clip that is kept."""
    for name in _NAMES:
        value = getattr(duplicate, name)
        if value != getattr(kept, name):
            others = report.other_names.setdefault(kept.clip_id, {}).setdefault(name, [])
            others.extend([value] if value not in others else [])


def _join_pairs(clips: Sequence[Clip], report: MergeReport) -> list[Clip]:
    joined = report.joined_pairs
    return [clip.model_copy(update={"pair_id": joined.get(clip.pair_id, clip.pair_id)}) for clip in clips]


def _copy_files(kept: Sequence[tuple[Path, Clip]], dataset: Path) -> None:
    for folder, clip in kept:
        target = dataset / clip.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / clip.path, target)
        except OSError as error:
            raise CacError(
                f"cannot copy {folder / clip.path}: {error.strerror}. Free some space, or download it."
            ) from error
