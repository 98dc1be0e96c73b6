"""The sandbox of train.py's process."""
