"""Finding a benchmark's videos in the user's folder: a question whose video is missing or ambiguous is not asked."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cac.data.exchange.media import VideoFolder
from cac.data.exchange.unusable import UnusableError
from cac.evaluation.benchmarks.questions import Reasons

_MIXED = "different videos of one name: keep the folders that the benchmark has them in"


@dataclass
class Located:
    """Where the videos are.

    Attributes:
        keys: a video's name in the benchmark → its path below the folder, as `paths` has it.
        paths: the videos' files and folders of frames, in the order in which they are named first.
        missing: the names of the videos that cannot be used, by reason.
    """

    keys: dict[str, str]
    paths: dict[str, Path]
    missing: Reasons


def locate(names: Iterable[str], folder: Path) -> Located:
    """Look up the videos in the folder, at their paths or at paths that end alike.

    Raises:
        CacError: there is no such folder.
    """
    videos, found = VideoFolder(folder), Located({}, {}, defaultdict(list))
    called: dict[str, set[str]] = defaultdict(set)  # path → the benchmark's names for it
    for name in dict.fromkeys(names):
        try:
            key, exact = videos.resolve(_path_of(name))
        except UnusableError as error:
            found.missing[str(error)].append(name)
            continue
        found.keys[name] = key
        called[key].add(key if exact else name)
    for name, key in list(found.keys.items()):
        if len(called[key]) > 1:
            found.missing[_MIXED].append(name)
            del found.keys[name]
    found.paths = {key: videos.path(key) for key in found.keys.values()}
    return found


def _path_of(name: str) -> str:
    """Return a video's name, or the path in it if it is an address."""
    return (urlsplit(name).path if "://" in name else name).lstrip("/")
