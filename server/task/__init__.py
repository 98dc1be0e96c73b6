"""The task: program.md, its policy on keeping and stopping, and the data set."""
