"""The rule for keeping: scores in, a verdict out."""
