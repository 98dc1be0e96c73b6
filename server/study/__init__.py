"""A study: everything that happens under one tag, move by move."""
