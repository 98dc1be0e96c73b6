"""Prompts: what a client offers its human to begin with."""
