"""Scripts for building the container image."""
