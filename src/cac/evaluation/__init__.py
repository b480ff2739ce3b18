"""How good a checkpoint is: metrics, intervals, baselines, the report."""
