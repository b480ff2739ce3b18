"""Old module names that registered versions still import.

MLflow copies `registry/pyfunc_model.py` into every version and runs that copy when the version is loaded, so the copy
imports `cac` as it was on the day of its registration. Modules that have moved since then stay importable under their
old names, here and nowhere else. New code must not use them.

A name can go once no registered version that anybody loads imports it; `tests/registry/test_older_versions.py` loads
a version registered before the move of 30 November 2026.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

MOVED = {"cac.video_input": "cac.video.inputs"}  # old name: new name


class _MovedModules(MetaPathFinder, Loader):
    """Finds a module under its old name and fills it with what the new one holds."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        moved = import_module(MOVED[module.__name__])
        module.__dict__.update({name: value for name, value in vars(moved).items() if not name.startswith("__")})


def keep_old_names() -> None:
    """Let the old names be imported; calling it again changes nothing."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())
