"""Screen a delivery in a local folder: which of its clips may join the dataset, and why the others may not.

The data checks are those of the pipeline's first stage. A failure of the blocking suite that concerns one clip rejects
that clip only. A delivery is rejected as a whole only if its manifest or card cannot be read. Splits are not checked:
the dataset assigns them (`split_assignment.py`). Out of scope: where deliveries come from, and repairing them.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cac.data.ingest.deliveries import is_clip_path
from cac.data.ingest.split_assignment import Reasons, assign_new_splits, find_contradicting
from cac.data.validation.clip_facts import ClipFacts, iter_facts
from cac.data.validation.validate import FAILURES_NAME, RESULT_NAME, validate
from cac.data.versions.cards import read_card, write_card
from cac.data.versions.groups import SplitRatios
from cac.errors import CacError
from cac.params import Validation
from cac.schema.annotations import Clip, write_clips

_SPLIT_CHECKS = ("pair_leak", "file_leak")  # of the splits, which are assigned again


@dataclass(frozen=True)
class RejectedLine:
    """A manifest line that was rejected; the clip's names are None where the line does not have them."""

    line: int
    clip_id: str | None
    path: str | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ScreeningRules:
    """Bounds of the data checks, and the ratios of the groups that go to val and test."""

    validation: Validation
    ratios: SplitRatios


@dataclass
class Screening:
    """The result of screening a delivery.

    Attributes:
        accepted: clips that may join the dataset, with their splits; some may be there already.
        new: how many of them have a content that is not in the dataset yet.
        rejected: lines that were rejected.
        unreadable: why the whole delivery was rejected, if it was.
    """

    accepted: list[Clip] = field(default_factory=list)
    new: int = 0
    rejected: list[RejectedLine] = field(default_factory=list)
    unreadable: str | None = None


def screen_delivery(folder: Path, dataset: Sequence[Clip], rules: ScreeningRules, out: Path) -> Screening:
    """Screen the delivery in `folder` against the clips of the dataset; write the data checks' findings to `out`.

    Args:
        folder: the delivery as `fetch_delivery` downloaded it.
        dataset: the clips of the current dataset.
        rules: bounds of the checks, and split ratios.
        out: as in `cac data validate`.

    Raises:
        CacError: a finding could not be written.
    """
    try:
        read_card(folder)
        facts = list(iter_facts(folder, None))
        if not any(one.clip for one in facts):
            raise CacError(f"no line of its manifest is a clip; {next(iter(facts[0].problems.values()))}")
    except CacError as error:
        return Screening(unreadable=str(error).replace(f"{folder}/", ""))
    reasons = _findings(folder, rules.validation, out)
    clips = _valid_clips(facts, reasons)
    _add_reasons(reasons, clips, find_contradicting(dataset, [one for _, one in clips]))
    clips = [(line, clip) for line, clip in clips if line not in reasons]
    placed, torn = assign_new_splits(dataset, [clip for _, clip in clips], rules.ratios)
    _add_reasons(reasons, clips, torn)
    accepted = [clip for (line, _), clip in zip(clips, placed, strict=True) if line not in reasons]
    known = {clip.sha256 for clip in dataset}
    return Screening(
        accepted=accepted,
        new=len({clip.sha256 for clip in accepted} - known),
        rejected=[_rejected_line(one, reasons[one.line]) for one in facts if one.line in reasons],
    )


def _findings(folder: Path, params: Validation, out: Path) -> Reasons:
    """Return {line: reasons} from the blocking checks; a delivery is a part, so counts are not checked."""
    part = {"min_clips_per_split": 0, "min_clips_per_family": 0, "min_clean_ratio": 0.0, "max_clean_ratio": 1.0}
    try:
        validate(folder, params.model_copy(update=part), out)
    except CacError:
        if not (out / RESULT_NAME).is_file():
            raise
    found: Reasons = defaultdict(list)
    failures = out / FAILURES_NAME
    for text in failures.read_text(encoding="utf-8").splitlines() if failures.is_file() else ():
        one = json.loads(text)
        if one["suite"] == "blocking" and one["line"] and one["check"] not in _SPLIT_CHECKS:
            found[one["line"]].append(f"{one['check']}: expected {one['expected']}, found {one['found']}")
    return found


def _valid_clips(facts: list[ClipFacts], reasons: Reasons) -> list[tuple[int, Clip]]:
    """Return (line, clip) of the clips without a reason; a path that a delivery may not have becomes a reason."""
    for one in facts:
        if one.clip and not is_clip_path(one.clip.path) and one.line not in reasons:
            reasons[one.line].append(f"path: expected clips/NAME.mp4, found {one.clip.path}")
    return [(one.line, one.clip) for one in facts if one.clip and one.line not in reasons]


def _add_reasons(reasons: Reasons, clips: list[tuple[int, Clip]], found: Reasons) -> None:
    for index, added in found.items():
        reasons[clips[index][0]] += added


def _rejected_line(one: ClipFacts, reasons: list[str]) -> RejectedLine:
    return RejectedLine(one.line, one.clip_id, one.path, tuple(reasons))


def write_accepted(screening: Screening, folder: Path, out: Path) -> None:
    """Write a dataset of the accepted clips to `out`; its `clips/` is a link to that of `folder`.

    Raises:
        CacError: it cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        clips = out / "clips"
        clips.unlink(missing_ok=True)
        clips.symlink_to((folder / "clips").resolve())
        write_clips(out, screening.accepted)
        write_card(out, read_card(folder))
    except OSError as error:
        raise CacError(f"cannot write {out}: {error.strerror}. Free some space, or check the permissions.") from error
