"""Three Ray nodes, a study over them, and what fails there: `make ray`. It needs Ray's wheel (79 MB)."""
