"""Workspaces that other tools have made: read as they are, and never written to."""
