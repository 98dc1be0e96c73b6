"""The check of everything that needs a GPU: `python benchmarks/gpu_check.py`."""
