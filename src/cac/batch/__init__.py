"""Scoring a folder or an S3 prefix into one Parquet file, in parts, so that a killed run goes on where it was."""
