"""A machine that an engine has chosen for a run."""
