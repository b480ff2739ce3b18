"""Workflows: Prefect flows that run the DVC stages and other `cac` commands in order. What a step does is in `src/cac`.

A new flow is a module here, with a verb in `__main__.py` and arguments in `cac.cli.flow_arguments`. Helpers go to
`flows/support/`.
"""
