"""Lanes as clients see them."""
