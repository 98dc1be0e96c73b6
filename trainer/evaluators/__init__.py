"""Evaluators: what turns a run into a score that can be believed."""
