"""The source of a library's function as a short digest, so that a test notices when a patched function changes."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any


def source_digest(function: Callable[..., Any]) -> str:
    """Return the first 12 hex digits of the SHA-256 of a function's source."""
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:12]
