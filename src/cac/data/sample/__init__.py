"""The embedded sample dataset: procedural scenes, their defects and distractors, rendered to video."""
