"""The settings of the stack in `infra/.env`: ports and generated passwords, created at the first start.

Only the owner can read the file (mode 600), and git ignores it. `infra/compose.yaml` reads the same variables. There
are no default passwords, and short passwords are an error.
"""

import os
import pwd
import secrets
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cac.errors import CacError

PREFIX = "STACK_"
_SECRET_BYTES = 24
_HEADER = """\
# Ports and passwords of the local stack and of compose.yaml, created by `make stack`.
# Do not delete it: the databases use these passwords.
"""

Port = Annotated[int, Field(ge=1024, le=65535)]
Secret = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{20,}$", repr=False)]  # used in URLs without escaping


class Settings(BaseModel):
    """The settings in `infra/.env`, where the names are in capitals and start with `STACK_`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    postgres_port: Port = 15432
    s3_port: Port = 19000
    mlflow_port: Port = 15000
    prefect_port: Port = 14200
    postgres_password: Secret
    mlflow_db_password: Secret
    prefect_db_password: Secret
    s3_access_key: Secret
    s3_secret_key: Secret
    prefect_password: Secret
    postgres_user: str | None = None  # the account that runs PostgreSQL if root starts the stack
    postgres_bin: Path | None = None  # the folder of other PostgreSQL programs than the package's
    state: Path | None = None  # the data folder; None: .stack


def make_settings() -> Settings:
    """Return settings with new passwords."""
    names = [name for name, field in Settings.model_fields.items() if field.is_required()]
    values: dict[str, str | None] = {name: secrets.token_hex(_SECRET_BYTES) for name in names}
    values["postgres_user"] = _unprivileged_account() if os.geteuid() == 0 else None
    return Settings.model_validate(values)


def load_settings(path: Path) -> Settings:
    """Read the settings at `path`.

    Raises:
        CacError: other users can read the file, or a setting is unknown or invalid.
    """
    from dotenv import dotenv_values

    if path.stat().st_mode & 0o077:
        raise CacError(f"other users can read the passwords in {path}. Run: chmod 600 {path}")
    values = dotenv_values(path, interpolate=False)
    unknown = [name for name in values if not name.startswith(PREFIX)]
    if unknown:
        raise CacError(f"{path}: {unknown[0]} is not a setting of the stack; its settings start with {PREFIX}.")
    try:
        return Settings.model_validate({name.removeprefix(PREFIX).lower(): value for name, value in values.items()})
    except ValidationError as error:
        wrong = error.errors(include_input=False)[0]
        name = PREFIX + ".".join(str(part) for part in wrong["loc"]).upper()
        raise CacError(f"{path}: {name}: {wrong['msg']}. Correct it, or delete the file and the data.") from error


def write_settings(settings: Settings, path: Path) -> None:
    """Write a new file at `path` that only the owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = settings.model_dump(mode="json", exclude_none=True)
    lines = [f"{PREFIX}{name.upper()}={value}\n" for name, value in values.items()]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines((_HEADER, *lines))


def _unprivileged_account() -> str:
    """Return the name of an unprivileged account, because PostgreSQL refuses to run as root."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
