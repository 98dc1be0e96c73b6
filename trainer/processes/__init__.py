"""Processes: starting and ending a process tree, and measuring what it uses."""
