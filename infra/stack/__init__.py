"""The real services as processes of this machine: PostgreSQL, an S3 server, MLflow, Prefect and a worker; no Docker.

Everything listens on 127.0.0.1 alone. Left out: TLS, replication, backups; a stack is for one machine and its users.
"""
