"""The embedded sample dataset: scenes drawn with and without an anomaly, rendered to the byte."""
