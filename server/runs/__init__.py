"""Runs: starting a supervisor, watching it, and cleaning up after it."""
