"""CaC: a coarse-to-fine anomaly reward model for generated video."""
