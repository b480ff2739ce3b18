"""A version of a dataset: a folder, or a git revision's DVC data. The one module of `src/` that imports DVC.

It only reads: a revision's manifest comes from DVC's cache or is streamed from the remote; the working tree is not
touched. It is here and not in `flows/` because people compare versions without a flow; no pipeline stage imports it.
"""

from collections.abc import Iterator
from pathlib import Path

from cac.data.versions.diff import Version, make_version
from cac.errors import CacError
from cac.io.git import read_git
from cac.schema.annotations import MANIFEST_NAME, Clip, iter_clips, parse_clip


def read_version(name: str, dataset: Path) -> Version:
    """Return the version `name`: a folder if there is one of that name, else the git revision of `dataset`.

    Args:
        name: a dataset folder, or a git revision such as `HEAD~1` or a tag.
        dataset: the folder that DVC tracks; it need not exist now.

    Raises:
        CacError: neither exists, the revision's data is neither in the cache nor on the remote, or it is invalid.
    """
    return make_version(*open_version(name, dataset))


def open_version(name: str, dataset: Path) -> tuple[str, Iterator[Clip]]:
    """Return the version's display name and its clips, read one at a time; arguments as of `read_version`.

    Raises:
        CacError: as `read_version`, partly only while the clips are read.
    """
    folder = Path(name)
    if folder.is_dir():
        return name, iter_clips(folder)
    root = _repository(dataset, name)
    commit = read_git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is None:
        raise CacError(f"{name} is neither a folder nor a git revision of {root}. Name one of these.")
    return f"{name} ({commit[:8]})", _clips_at(commit, name, root, _inside(dataset, root))


def _repository(dataset: Path, name: str) -> Path:
    """Return the root of the git repository that holds the dataset."""
    above = next(folder for folder in dataset.absolute().parents if folder.is_dir())
    root = read_git(above, "rev-parse", "--show-toplevel")
    if root is None:
        raise CacError(f"there is no folder {name}, and {dataset} is in no git repository that could have it as a "
                       "revision. Name a folder, or run this in the repository.")  # fmt: skip
    return Path(root)


def _inside(dataset: Path, root: Path) -> str:
    """Return the dataset's path from the repository's root, as DVC's file system writes it."""
    path = dataset.absolute()
    return (path.parent.resolve() / path.name).relative_to(root.resolve()).as_posix()


def _clips_at(commit: str, name: str, root: Path, dataset: str) -> Iterator[Clip]:
    """Yield the clips of a commit's dataset."""
    from botocore.exceptions import BotoCoreError
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexError

    manifest = f"{dataset}/{MANIFEST_NAME}"
    try:
        files = DVCFileSystem(url=str(root), rev=commit, subrepos=True)
        tracked = files.isdvc(dataset)
    except DvcException as error:
        raise CacError(
            f"DVC cannot read what it tracks at {name}: {error}. Repair its files in that revision."
        ) from error
    try:
        with files.open(manifest, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                yield parse_clip(line, f"{manifest} at {name}:{number}")
    except (OSError, DvcException, DataIndexError, BotoCoreError) as error:
        raise CacError(_missing(name, manifest, tracked, error)) from error


def _missing(name: str, manifest: str, tracked: bool, error: Exception) -> str:
    if not tracked:
        return f"{name} has no {manifest}. Name the dataset's folder with --data, or another revision."
    return (
        f"the data of {name} can be read neither from DVC's cache nor from its remote ({error}). "
        "Run `dvc push` where that version was made, and check that the remote can be reached from here."
    )
