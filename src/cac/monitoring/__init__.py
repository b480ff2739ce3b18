"""Drift in production: compare recent clips and their scores with those the champion was measured on."""
