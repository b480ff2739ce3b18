"""The annotated dataset: make it, import it, ingest it, validate it, version it."""
