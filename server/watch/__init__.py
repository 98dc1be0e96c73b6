"""The live page of a study: routes, changes, who may see it."""
