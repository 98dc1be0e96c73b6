"""Clients of the server: their configuration, and the ways to start one without anybody at it."""
