"""Overlays: files in `conf/` that change some settings, written into `params.yaml` for good.

What a stage depends on must stand in `params.yaml`, or DVC would not see that it has changed. So an overlay is not put
over it as a stage runs, but applied once; git shows what it did, and takes it back. Left out: overlays of overlays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.params import load_params


@dataclass(frozen=True)
class Change:
    """A setting that an overlay changes: its key with dots, its value before and after."""

    key: str
    before: Any
    after: Any


def apply_overlay(params_file: Path, overlay: Path) -> list[Change]:
    """Write an overlay's settings into a params file, keeping its comments and order; returns what changed.

    Raises:
        CacError: one of the files is missing or no YAML, or the settings would not be valid. Nothing is changed then.
    """
    load_params(params_file)
    settings, wanted = _read(params_file), _read(overlay)
    if not isinstance(wanted, Mapping):
        raise CacError(f"{overlay} holds no settings. Write sections and keys as in {params_file}.")
    changes = list(_put(settings, wanted, ""))
    if changes:
        _write(settings, params_file, overlay)
    return changes


def _editor() -> Any:
    """Return a reader and writer of YAML that keeps comments, order, and numbers as they are written."""
    from ruamel.yaml import YAML

    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 4096
    editor.representer.add_representer(
        type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return editor


def _read(file: Path) -> Any:
    from ruamel.yaml import YAMLError

    try:
        return _editor().load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CacError(f"no overlay at {file}: {error.strerror}. Those of the project are in conf/.") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise CacError(f"{file} is not valid YAML: {error}") from error


def _put(settings: Any, wanted: Mapping[str, Any], prefix: str) -> Iterator[Change]:
    """Change settings in place, and yield what is another than before."""
    for key, value in wanted.items():
        before = settings.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from _put(before, value, f"{prefix}{key}.")
        elif key not in settings or before != value:
            settings[key] = value
            yield Change(f"{prefix}{key}", before, value)


def _write(settings: Any, params_file: Path, overlay: Path) -> None:
    """Put settings in the place of a params file if they are valid as written."""
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
