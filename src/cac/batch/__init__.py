"""Scores a folder or an S3 prefix into one Parquet file, in parts, so that an interrupted run can resume."""
