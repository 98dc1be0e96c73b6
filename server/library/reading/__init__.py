"""The library, as agents read it."""
