"""Overlays: files in `conf/` with some settings, which `cac params apply` writes into `params.yaml`.

DVC compares the settings in `params.yaml`, so a stage cannot merge an overlay when it runs. An overlay is applied once
instead; `git diff` shows the change and `git checkout` reverts it. Out of scope: overlays of overlays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.params import load_params


@dataclass(frozen=True)
class Change:
    """A setting that an overlay changes: its dotted key, and its value before and after."""

    key: str
    before: Any
    after: Any


def apply_overlay(params_file: Path, overlay: Path) -> list[Change]:
    """Write an overlay's settings into a params file, preserving comments and order; return the changes.

    Raises:
        CacError: a file is missing or not YAML, or the result would be invalid. The params file is then unchanged.
    """
    load_params(params_file)
    settings, overrides = _read(params_file), _read(overlay)
    if not isinstance(overrides, Mapping):
        raise CacError(f"{overlay} has no settings. Write sections and keys as in {params_file}.")
    changes = list(_update(settings, overrides, ""))
    if changes:
        _write(settings, params_file, overlay)
    return changes


def _editor() -> Any:
    """Return a YAML reader and writer that preserves comments, order and the notation of numbers."""
    from ruamel.yaml import YAML

    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 4096
    editor.representer.add_representer(
        type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return editor


def _read(file: Path) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        return _editor().load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CacError(f"no overlay at {file}: {error.strerror}. The project's overlays are in conf/.") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise CacError(f"{file} is not valid YAML: {error}") from error


def _update(settings: Any, overrides: Mapping[str, Any], prefix: str) -> Iterator[Change]:
    """Update settings in place, and yield the changes."""
    for key, value in overrides.items():
        before = settings.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from _update(before, value, f"{prefix}{key}.")
        elif key not in settings or before != value:
            settings[key] = value
            yield Change(f"{prefix}{key}", before, value)


def _write(settings: Any, params_file: Path, overlay: Path) -> None:
    """Replace a params file if the settings, as written, are valid."""
    unfinished = params_file.with_name(f"{params_file.name}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            _editor().dump(settings, file)
        load_params(unfinished)
        unfinished.replace(params_file)
    except CacError as error:
        reason = str(error).removeprefix(f"{unfinished}: ")
        raise CacError(f"{params_file} with {overlay}: {reason}. Nothing was changed.") from error
    except OSError as error:
        raise CacError(f"cannot write {params_file}: {error.strerror}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
