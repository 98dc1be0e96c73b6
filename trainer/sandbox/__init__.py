"""The sandbox of train.py."""
