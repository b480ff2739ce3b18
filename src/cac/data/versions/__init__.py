"""Datasets as versions: merge, split, count and compare them."""
