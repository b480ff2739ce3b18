"""MLflow runs, the state a run was made from (code, data, settings, environment), and DVC's files as data."""
