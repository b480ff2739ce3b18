"""Annotations from and for other tools: `cac data import` and `cac data export`, one file a format."""
