"""The sandbox around train.py's process."""
