"""The local stack: PostgreSQL, an S3 server, MLflow, Prefect and a worker as local processes, without Docker.

All services listen on 127.0.0.1 only; a stack serves the users of one machine. Out of scope: TLS, replication, backups.
"""
