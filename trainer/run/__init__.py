"""One run: talking to train.py's process, its clock, its log and its folder."""
