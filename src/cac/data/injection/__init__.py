"""Defects injected into ordinary videos: annotated pairs of a clean and a defective clip."""
