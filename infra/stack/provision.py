"""What the servers need before they start: a role and a database each for MLflow and Prefect, and the buckets.

Everything is made once and may be made again. `python -m infra.stack.provision` does it for `compose.yaml`, by the
environment; the local stack calls the functions.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from cac.errors import CacError
from infra.stack.local_stack import DVC_BUCKET, MLFLOW_BUCKET

_CONNECT_SECONDS = 5


def make_databases(server: str, passwords: Mapping[str, str]) -> None:
    """Make a role and a database of the same name for each of `passwords`, and set the role's password.

    Args:
        server: libpq address of the server, with the superuser and its password.
        passwords: password by role.
    """
    import psycopg
    from psycopg import sql

    with psycopg.connect(server, autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection:
        roles = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        databases = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name, password in passwords.items():
            verb = sql.SQL("ALTER" if name in roles else "CREATE")
            role, secret = sql.Identifier(name), _scrambled(connection, name, password)
            connection.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, role, sql.Literal(secret)))
            if name not in databases:
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(role))


def _scrambled(connection: Any, role: str, password: str) -> str:
    """Return what PostgreSQL keeps of a password, which its log, that may hold statements, must not get."""
    made: bytes = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return made.decode()


def make_buckets(client: Any, names: Sequence[str]) -> None:
    """Make the buckets that are not there; `client` is boto3's."""
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in names:
        if name not in there:
            client.create_bucket(Bucket=name)


def s3_client(environment: Mapping[str, str]) -> Any:
    """Return boto3's client that neither waits nor tries again; `environment` says where the server is and who asks."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
        config=Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1}),
    )


def main() -> None:
    """Provision the servers that the environment names."""
    try:
        passwords = {"mlflow": os.environ["MLFLOW_DB_PASSWORD"], "prefect": os.environ["PREFECT_DB_PASSWORD"]}
        server = os.environ["POSTGRES_SERVER"]
        client = s3_client(os.environ)
    except KeyError as error:
        raise CacError(f"the environment variable {error.args[0]} is not set. compose.yaml sets it.") from error
    make_databases(server, passwords)
    make_buckets(client, (MLFLOW_BUCKET, DVC_BUCKET))


if __name__ == "__main__":
    main()
