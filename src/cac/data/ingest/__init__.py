"""Deliveries of new clips: fetch from S3, screen, quarantine what is unfit, assign a split to the rest."""
