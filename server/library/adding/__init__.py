"""Sources added: fetched, read, chosen, and written whole."""
