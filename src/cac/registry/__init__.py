"""MLflow: tracking, registered models, promotion."""
