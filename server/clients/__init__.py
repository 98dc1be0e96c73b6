"""Clients of the server: how they are configured and started."""
