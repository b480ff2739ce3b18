"""Ingestion of deliveries from S3: listing and fetching them, screening their clips, assigning splits, quarantine."""
