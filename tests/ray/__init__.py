"""A real Ray cluster of three nodes, a study over it, and what fails there: `make ray`. It needs Ray's wheel (79 MB)."""
