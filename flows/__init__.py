"""Scheduling only: Prefect runs the DVC stages one after another; what a stage does is in `src/cac`."""
