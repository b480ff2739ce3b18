"""SHA-256 of every file of a package, written with it and checked at every load.

`SHA256SUMS` has the format of coreutils, so `sha256sum -c SHA256SUMS` checks a package without this project. It finds
damage (a truncated download, an edited file), not an attacker, who would write the sums again.
"""

import hashlib
from pathlib import Path

from cac.errors import CacError

SUMS_FILE = "SHA256SUMS"
_NAMED = 3  # files that a message names
_REMEDY = "Download it again, or load another version."


def write_sums(package: Path) -> None:
    """Write the sums of all files in a package."""
    lines = [f"{digest}  {name}\n" for name, digest in _digests(package).items()]
    (package / SUMS_FILE).write_text("".join(lines), encoding="utf-8")


def sums_digest(package: Path) -> str:
    """Return one hash of a package's sums, for the version that names the package."""
    return hashlib.sha256((package / SUMS_FILE).read_bytes()).hexdigest()


def check_sums(package: Path, expected_digest: str | None = None) -> None:
    """Check that a package has the files that were written, unchanged.

    Args:
        package: the folder.
        expected_digest: the hash of its sums that was recorded elsewhere; None if it was not.

    Raises:
        CacError: a file is missing, changed or added; the message names it.
    """
    file = package / SUMS_FILE
    if not file.is_file():
        raise CacError(f"the package at {package} has no {SUMS_FILE}, so nobody can say whether it is whole. {_REMEDY}")
    if expected_digest is not None and sums_digest(package) != expected_digest:
        raise CacError(f"{file} is not the one that was registered with this version. {_REMEDY}")
    expected, found = _read_sums(file), _digests(package)
    faults = [
        *(f"{name} is missing" for name in sorted(expected.keys() - found.keys())),
        *(f"{name} was added" for name in sorted(found.keys() - expected.keys())),
        *(f"{name} was changed" for name in sorted(expected.keys() & found.keys()) if expected[name] != found[name]),
    ]
    if faults:
        more = f" and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        raise CacError(f"the package at {package} is damaged: {', '.join(faults[:_NAMED])}{more}. {_REMEDY}")


def _read_sums(file: Path) -> dict[str, str]:
    sums = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != hashlib.sha256().digest_size * 2 or name in sums:
            raise CacError(f"{file} has the line {line!r}, which is no SHA-256 with a name. {_REMEDY}")
        sums[name] = digest
    return sums


def _digests(package: Path) -> dict[str, str]:
    """Return the hash of each file in a package but the sums, by its path in the package, sorted."""
    files = sorted(path for path in package.rglob("*") if path.is_file() and path != package / SUMS_FILE)
    digests = {}
    for path in files:
        with path.open("rb") as content:
            digests[path.relative_to(package).as_posix()] = hashlib.file_digest(content, "sha256").hexdigest()
    return digests
