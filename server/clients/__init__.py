"""Clients: how they are configured and started."""
