"""Faults, injected for real, and what must still hold after each: `python -m tests.faults`."""
