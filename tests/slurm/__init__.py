"""A real Slurm cluster on this machine, studies over it, and faults injected for real: `python -m tests.slurm`."""
