"""What of requirements.lock an image installs, from standard input to standard output; the Dockerfile's helper.

`cuda`: everything. `cpu`: everything but PyTorch and what only its CUDA build needs. `torch`: PyTorch's packages
alone, by version and without hashes, for another index's builds of them. Standard library only, for it runs
before anything is installed.
"""

import re
import sys
from collections.abc import Iterator, Sequence

TORCH = ("torch", "torchvision")
_ONLY_CUDA = re.compile(r"nvidia-|cuda-|triton$")
_NAME = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")


def split(lines: Sequence[str], what: str) -> list[str]:
    """Return the lines of a lock that are wanted.

    Args:
        lines: of the lock, with line ends.
        what: `cuda`, `cpu` or `torch`.

    Raises:
        ValueError: `what` is none of these, or a line is of no requirement.
    """
    if what == "cuda":
        return list(lines)
    if what == "cpu":
        return [line for name, block in _blocks(lines) if not _is_cuda(name) for line in block]
    if what == "torch":
        return [f"{name}=={_version(block)}\n" for name, block in _blocks(lines) if name in TORCH]
    raise ValueError(f"{what}: cpu, cuda or torch is meant")


def _blocks(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Give each requirement's name and its lines: its own and those with its hashes."""
    block: list[str] = []
    for line in lines:
        if block and not line.startswith((" ", "\t")):
            yield _match(block)[1], block
            block = []
        block.append(line)
    if block:
        yield _match(block)[1], block


def _match(block: list[str]) -> re.Match[str]:
    match = _NAME.match(block[0])
    if match is None:
        raise ValueError(f"no requirement: {block[0]!r}")
    return match


def _version(block: list[str]) -> str:
    return _match(block)[2]


def _is_cuda(name: str) -> bool:
    return name in TORCH or _ONLY_CUDA.match(name) is not None


if __name__ == "__main__":
    sys.stdout.writelines(split(sys.stdin.readlines(), sys.argv[1]))
