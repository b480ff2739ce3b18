"""Ablations: train the method without one of its parts and measure the difference."""
