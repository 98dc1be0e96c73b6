"""The live page of a study: its routes, its stream of changes, and who may see it."""
