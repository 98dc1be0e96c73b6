"""Data sets: the embedded corpus, prepared ones, and how they are made."""
