"""How the data differs from that of the last training, as an artifact: what dvc.lock was made with, and what is now."""

from pathlib import Path

import yaml
from prefect.artifacts import create_markdown_artifact

from cac.data.versions.diff import ListedClip, VersionDiff, count_changes, diff_versions
from cac.errors import CacError
from cac.io.git import read_git
from cac.paths import DATASET
from flows.support.git_worktree import md5_in

KEY = "dataset-diff"
_SHOWN = 20  # clips of a kind that are named


def show_dataset_diff(root: Path, lock: str | None, pointer: str, after: str, head: str = "HEAD") -> None:
    """Show what changed since the data that a dvc.lock was made with.

    Args:
        root: the repository.
        lock: the text of that dvc.lock; None if there is none.
        pointer: the text of the data.dvc that is now.
        after: the version that is now, as `read_version` takes it: a commit, or a folder.
        head: the commit whose history is looked through for the version before.
    """
    trained_on = _trained_on(lock)
    if trained_on == md5_in(pointer):
        text = f"The data is that of the last training, `{trained_on}`."
    else:
        text = _difference(root, trained_on, after, head)
    create_markdown_artifact(text, key=KEY, description="What changed in the data since the last training")


def _trained_on(lock: str | None) -> str | None:
    """Return the hash of the data that a dvc.lock was made with."""
    deps = (yaml.safe_load(lock) or {}).get("stages", {}).get("validate", {}).get("deps", []) if lock else []
    return next((dep["md5"] for dep in deps if dep["path"] == DATASET.as_posix()), None)


def _difference(root: Path, trained_on: str | None, after: str, head: str) -> str:
    from cac.data.versions.revisions import read_version

    before = _commit_of(root, trained_on, head)
    if before is None:
        return "No earlier commit has the data of the last training, if there was one: all of it is new."
    try:
        return _describe(diff_versions(*(read_version(name, root / DATASET) for name in (before, after))))
    except CacError as error:
        return f"The versions cannot be compared: {error}"


def _commit_of(root: Path, md5: str | None, head: str) -> str | None:
    """Return the newest commit up to `head` whose data.dvc names this data."""
    commits = read_git(root, "log", "--format=%H", head, "--", "data.dvc") or ""
    pointers = ((commit, read_git(root, "show", f"{commit}:data.dvc")) for commit in commits.split())
    return next((commit for commit, pointer in pointers if pointer and md5_in(pointer) == md5), None)


def _describe(found: VersionDiff) -> str:
    changed = (*found.replaced, *found.relabelled)
    lines = [
        f"From {found.before} to {found.after}: {len(found.added)} added, {len(found.removed)} removed, "
        f"{len(found.replaced)} replaced, {len(found.relabelled)} relabelled, {found.unchanged} unchanged.",
        *_named("added", found.added),
        *_named("removed", found.removed),
        *(f"- {name}: changed in {count} clips" for name, count in count_changes(changed).items()),
    ]
    return "\n".join(lines)


def _named(change: str, clips: tuple[ListedClip, ...]) -> list[str]:
    lines = [f"- {change}: {one.clip_id} ({one.split}, {', '.join(one.leaves) or 'clean'})" for one in clips[:_SHOWN]]
    return lines + ([f"- {change}: {len(clips) - _SHOWN} more"] if len(clips) > _SHOWN else [])
