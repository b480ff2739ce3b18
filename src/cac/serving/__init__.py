"""Scores over HTTP: one registered version, videos of many clients judged in batches."""
