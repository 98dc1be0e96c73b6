"""A task's commands: files, processes, output."""
