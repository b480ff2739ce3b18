"""The model card of a version: what is known about it, the figures, and the page for people."""
