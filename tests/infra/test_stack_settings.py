"""The stack's settings: made with new passwords, kept from others, and refused when a person could guess them."""

import os
import stat
from pathlib import Path

import pytest

from cac.errors import CacError
from infra.stack.account import account_for
from infra.stack.local_stack import open_stack
from infra.stack.settings import load_settings, make_settings, write_settings

SECRETS = ["postgres_password", "mlflow_db_password", "prefect_db_password", "s3_access_key", "s3_secret_key"]


def test_made_settings_are_read_back_and_nobody_else_can(tmp_path: Path) -> None:
    path = tmp_path / "infra" / ".env"
    settings = open_stack(tmp_path).settings
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_stack(tmp_path).settings == settings == load_settings(path)


def test_no_two_passwords_are_the_same() -> None:
    made = [getattr(make_settings(), name) for name in SECRETS for _ in range(2)]
    assert len(set(made)) == len(made)


def test_settings_that_others_may_read_are_refused(tmp_path: Path) -> None:
    write_settings(make_settings(), tmp_path / ".env")
    (tmp_path / ".env").chmod(0o640)
    with pytest.raises(CacError, match="chmod 600"):
        load_settings(tmp_path / ".env")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("STACK_S3_SECRET_KEY=changeme", "STACK_S3_SECRET_KEY"),
        ("STACK_S3_SECRET_KEY=has/a@meaning-in-addresses", "STACK_S3_SECRET_KEY"),
        ("STACK_S3_PORT=80", "STACK_S3_PORT"),
        ("STACK_S3_PROT=9000", "STACK_S3_PROT"),
        ("PASSWORD=x", "PASSWORD is not a setting"),
    ],
)
def test_the_error_for_an_invalid_setting_names_it_and_hides_its_value(tmp_path: Path, line: str, named: str) -> None:
    path = tmp_path / ".env"
    write_settings(make_settings(), path)
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(CacError, match=named) as error:
        load_settings(path)
    assert line.split("=")[1] not in str(error.value) or line.split("=")[1].isdigit() or len(line.split("=")[1]) == 1


def test_new_passwords_are_not_generated_for_existing_data(tmp_path: Path) -> None:
    (tmp_path / ".stack" / "postgres").mkdir(parents=True)
    with pytest.raises(CacError, match="restore it or delete"):
        open_stack(tmp_path)


def test_clients_get_only_what_they_need(tmp_path: Path) -> None:
    stack = open_stack(tmp_path)
    values = " ".join(stack.client_environment().values())
    assert stack.settings.s3_secret_key in values
    for name in ("postgres_password", "mlflow_db_password", "prefect_db_password"):
        assert getattr(stack.settings, name) not in values


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must name another account")
@pytest.mark.parametrize("name", [None, "no-such-account", "root"])
def test_root_must_name_an_ordinary_account(name: str | None) -> None:
    with pytest.raises(CacError, match="does not run as root"):
        account_for(name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root's processes get another account")
def test_an_ordinary_user_runs_postgres_themselves() -> None:
    assert account_for(None) is None
