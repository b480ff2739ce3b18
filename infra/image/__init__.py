"""Programs the image's build runs."""
