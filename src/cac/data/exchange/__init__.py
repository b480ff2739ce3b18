"""Annotations of other tools: `cac data import` and `cac data export`, one module a format."""
