"""One module for each format that is read, and for each that is written."""
