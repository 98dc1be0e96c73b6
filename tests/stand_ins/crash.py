"""Fails at once."""

raise ValueError("shapes 3 and 4 do not match")
