"""Where the system runs: the local stack, containers, clusters, and what Prefect's server must know."""
