"""The rule for keeping: scores and noise in, a verdict out."""
