"""Helpers of the flows: the Prefect server, subprocesses, locks, git worktrees, events and artifacts.

They may import `cac` and each other, but no flow. Code that needs neither Prefect nor DVC belongs in `cac`.
"""
