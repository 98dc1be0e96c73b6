"""Engines: runs on machines that something else hands out."""
