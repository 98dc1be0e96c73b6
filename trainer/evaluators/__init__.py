"""Evaluators: what turns a run of train.py into a score that can be believed."""
