"""A tree of HTML cleaned, and written as Markdown."""
