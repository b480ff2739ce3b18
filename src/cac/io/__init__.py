"""The outside world: S3, git, URLs, JSON lines, worker processes, distributed training, a full disk."""
