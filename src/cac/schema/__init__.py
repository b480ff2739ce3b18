"""What data means: annotations, taxonomy, geometry, the dialogue with the model, and its judgements."""
