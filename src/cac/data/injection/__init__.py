"""Defects injected into ordinary videos: annotated pairs of a clean clip and a defective one."""
