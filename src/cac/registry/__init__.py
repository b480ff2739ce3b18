"""Model versions in MLflow: register, gate, promote, roll back, veto, load."""
