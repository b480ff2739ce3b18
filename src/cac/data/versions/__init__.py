"""Versions of a dataset: merge, split, count and compare them."""
