"""Ablations: what each part of the method is worth, measured by leaving it out."""
