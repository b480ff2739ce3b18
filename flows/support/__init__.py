"""What the flows share: subprocesses, locks, git worktrees, a local Prefect server, artifacts, exit codes."""
