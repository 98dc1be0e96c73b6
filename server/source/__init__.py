"""Source text: patches, and what a change to train.py amounts to."""
