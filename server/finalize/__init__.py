"""A branch to merge: kept changes with their effects."""
