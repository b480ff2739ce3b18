"""Selects the requirements of requirements.lock for an image, from standard input to standard output.

`cuda`: all. `cpu`: all except PyTorch and the packages that only its CUDA build needs. `torch`: only PyTorch's
packages, by version and without hashes, to install them from another index. The Dockerfile runs this script before it
installs anything, so it uses the standard library only.
"""

import re
import sys
from collections.abc import Iterator, Sequence

TORCH = ("torch", "torchvision")
_ONLY_CUDA = re.compile(r"nvidia-|cuda-|triton$")
_NAME = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")


def split(lines: Sequence[str], part: str) -> list[str]:
    """Return the lines of the lock file for one part of the image.

    Args:
        lines: the lines of the lock file, with line ends.
        part: `cuda`, `cpu` or `torch`.

    Raises:
        ValueError: unknown `part`, or a line belongs to no requirement.
    """
    if part == "cuda":
        return list(lines)
    if part == "cpu":
        return [line for name, block in _blocks(lines) if not _is_cuda(name) for line in block]
    if part == "torch":
        return [f"{name}=={_version(block)}\n" for name, block in _blocks(lines) if name in TORCH]
    raise ValueError(f"{part}: expected cpu, cuda or torch")


def _blocks(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each requirement and its lines: the requirement and its hashes."""
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
        raise ValueError(f"not a requirement: {block[0]!r}")
    return match


def _version(block: list[str]) -> str:
    return _match(block)[2]


def _is_cuda(name: str) -> bool:
    return name in TORCH or _ONLY_CUDA.match(name) is not None


if __name__ == "__main__":
    sys.stdout.writelines(split(sys.stdin.readlines(), sys.argv[1]))
