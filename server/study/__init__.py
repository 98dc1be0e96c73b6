"""A study: what happens under one tag, move by move."""
