"""Prints a score and ends: the score is not the referee's."""

print("val_bpb: 0.5")
