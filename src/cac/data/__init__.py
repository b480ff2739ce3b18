"""The annotated dataset: procedural scenes, their defects, and validation."""
