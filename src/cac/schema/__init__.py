"""What the rest of the package talks about, as plain data: annotations, taxonomy, geometry, dialogue, judgement."""
