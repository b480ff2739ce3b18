"""The annotated dataset: how it is made, imported, checked, split, merged and taken in."""
