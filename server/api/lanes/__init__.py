"""Lanes as clients see them: whose call is about which, and where each stands."""
