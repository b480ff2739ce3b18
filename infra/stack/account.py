"""The operating system account that runs PostgreSQL.

PostgreSQL refuses to run as root. If root starts the stack, as in many containers, its processes run under an
unprivileged account, which needs access to the programs and the data.
"""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac.errors import CacError


@dataclass(frozen=True)
class Account:
    """An account of the operating system."""

    name: str
    uid: int
    gid: int

    def chown(self, path: Path) -> None:
        """Make the account the owner of `path`."""
        os.chown(path, self.uid, self.gid)


def account_for(name: str | None) -> Account | None:
    """Return the account for PostgreSQL, or None to use the account of this process.

    Raises:
        CacError: root starts the stack and `name` is not an unprivileged account.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(name or "")
    except KeyError as error:
        raise CacError(
            f"PostgreSQL does not run as root, and the account {name!r} does not exist. "
            "Start the stack as another user, or set an unprivileged account in infra/.env: STACK_POSTGRES_USER=nobody"
        ) from error
    if entry.pw_uid == 0:
        raise CacError(f"PostgreSQL does not run as root: STACK_POSTGRES_USER={name} in infra/.env is root.")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def as_account(account: Account | None) -> dict[str, Any]:
    """Return the arguments for `subprocess` that start a process under `account`."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def check_access(account: Account | None, program: Path, folder: Path) -> None:
    """Check that the account can start `program` and enter `folder`.

    Raises:
        CacError: it has no access.
    """
    command = ("/bin/sh", "-c", 'cd "$1" && exec "$2" --version', "sh", str(folder), str(program))
    tried = subprocess.run(command, cwd="/", capture_output=True, text=True, **as_account(account))
    if tried.returncode == 0:
        return
    user = f"the account {account.name}" if account else "this account"
    raise CacError(
        f"cannot start PostgreSQL: {user} must be able to run {program} and to enter {folder} "
        f"({tried.stderr.strip()}). Set another folder for the data (STACK_STATE) or the programs "
        "(STACK_POSTGRES_BIN) in infra/.env, or start the stack as another user."
    )
