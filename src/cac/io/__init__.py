"""Access to the outside: S3, git, URLs, JSON lines, processes, progress bars. Nothing here knows videos or models."""
