"""Messages to the operator: which, when, and by which service."""
