"""How runs start: what an executor is asked for, and which of those that wait comes next."""
