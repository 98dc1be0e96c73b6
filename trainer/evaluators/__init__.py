"""Evaluators: they turn a run into a score."""
