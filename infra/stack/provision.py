"""Creates what the servers need before they start: a role and a database each for MLflow and Prefect, and the buckets.

All operations are idempotent. `compose.yaml` runs `python -m infra.stack.provision`, configured by environment
variables; the local stack calls the functions.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from cac.errors import CacError
from infra.stack.local_stack import DVC_BUCKET, MLFLOW_BUCKET

_CONNECT_SECONDS = 5


def create_databases(server: str, passwords: Mapping[str, str]) -> None:
    """Create a role and a database of the same name for each of `passwords`, and set the password of the role.

    Args:
        server: the libpq address of the server, with the superuser and its password.
        passwords: the password of each role.
    """
    import psycopg
    from psycopg import sql

    with psycopg.connect(server, autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection:
        roles = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        databases = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name, password in passwords.items():
            verb = sql.SQL("ALTER" if name in roles else "CREATE")
            role, secret = sql.Identifier(name), _encrypt_password(connection, name, password)
            connection.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, role, sql.Literal(secret)))
            if name not in databases:
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(role))


def _encrypt_password(connection: Any, role: str, password: str) -> str:
    """Return the SCRAM verifier of a password. PostgreSQL may log statements, so the password must not be in one."""
    verifier: bytes = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return verifier.decode()


def create_buckets(client: Any, names: Sequence[str]) -> None:
    """Create the missing buckets; `client` is a boto3 client."""
    existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in names:
        if name not in existing:
            client.create_bucket(Bucket=name)


def s3_client(environment: Mapping[str, str]) -> Any:
    """Return a boto3 client without retries for the server and the credentials in `environment`."""
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
    """Provision the servers in the environment variables."""
    try:
        passwords = {"mlflow": os.environ["MLFLOW_DB_PASSWORD"], "prefect": os.environ["PREFECT_DB_PASSWORD"]}
        server = os.environ["POSTGRES_SERVER"]
        client = s3_client(os.environ)
    except KeyError as error:
        raise CacError(f"the environment variable {error.args[0]} is not set. compose.yaml sets it.") from error
    create_databases(server, passwords)
    create_buckets(client, (MLFLOW_BUCKET, DVC_BUCKET))


if __name__ == "__main__":
    main()
