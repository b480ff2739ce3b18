"""Model URIs: the default one, and which version an alias points to.

MLflow knows `models:/NAME/NUMBER` and `models:/NAME@ALIAS`. An alias moves with each promotion; a number does not.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cac.errors import CacError

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_MODEL_NAME = "cac-reward-model"  # outside of a project, where no params.yaml says `registry.model_name`

_REGISTERED = re.compile(r"models:/([^/@]+)(?:/(\d+)|@([^/@]+))")


def champion_uri(model_name: str) -> str:
    """Return the URI of a registered model's champion."""
    return f"models:/{model_name}@champion"


def default_model_uri(params_file: Path) -> str:
    """Return the champion of the project's registered model, or of DEFAULT_MODEL_NAME outside of a project.

    Only `registry.model_name` is read, so that a params.yaml of another tool in the current folder does no harm.

    Raises:
        CacError: the file is there but is no YAML mapping.
    """
    from cac.tracking.dvc_files import read_yaml

    section = read_yaml(params_file).get("registry") if params_file.is_file() else None
    name = section.get("model_name") if isinstance(section, dict) else None
    return champion_uri(name if isinstance(name, str) else DEFAULT_MODEL_NAME)


def parse_model_uri(uri: str) -> tuple[str, str | None, str | None]:
    """Return name, number and alias of a registered model's URI; one of the latter two is None.

    Raises:
        CacError: it is not of this form.
    """
    match = _REGISTERED.fullmatch(uri)
    if match is None:
        raise CacError(f"{uri!r} can't be pinned to a version. Give models:/NAME@ALIAS or models:/NAME/NUMBER.")
    name, number, alias = match.groups()
    return name, number, alias


def resolve_version(uri: str) -> str:
    """Return `models:/NAME/NUMBER` for a URI with a number or an alias.

    Raises:
        CacError: the URI names no registered version, or one whose registration is not complete.
    """
    from cac.registry.versions import get_aliases, get_complete_version
    from cac.tracking.mlflow_runs import connect

    name, number, alias = parse_model_uri(uri)
    client = connect()
    if alias:
        known = get_aliases(client, name)
        if alias not in known:
            present = ", ".join(sorted(known)) or "none"
            raise CacError(
                f"{name} has no alias {alias!r} (it has: {present}). Promote a version first, or name a number."
            )
        number = known[alias]
    return f"models:/{name}/{get_complete_version(client, name, str(number)).version}"


def resolve_alias(client: "MlflowClient", uri: str) -> str:
    """Return any model URI with its alias, if it has one, replaced by the version that the alias points to now.

    Raises:
        MlflowException: there is no such model or alias.
    """
    name, at, alias = uri.removeprefix("models:/").partition("@")
    if not at:
        return uri
    return f"models:/{name}/{client.get_model_version_by_alias(name, alias).version}"
