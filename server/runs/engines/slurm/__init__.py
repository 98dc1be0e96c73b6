"""Slurm: a job for each run, by plain sbatch."""
