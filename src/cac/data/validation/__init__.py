"""Data validation: facts of every clip, the checks on them, drift, near duplicates and annotator agreement."""
