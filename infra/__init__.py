"""Deployment: the local stack, the container image, Kubernetes, and the configuration of the Prefect server."""
