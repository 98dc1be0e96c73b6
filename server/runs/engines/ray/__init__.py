"""Runs on a Ray cluster. Ray itself is imported in a child process alone, and only where it is asked for."""
