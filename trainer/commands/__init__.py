"""Commands of a task: the files they work on, their processes, what they print and what they use."""
