"""Score a folder or an S3 prefix into one Parquet file, in parts, so that a killed run resumes."""
