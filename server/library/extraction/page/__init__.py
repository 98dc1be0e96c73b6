"""A page: its metadata, and where its text is."""
