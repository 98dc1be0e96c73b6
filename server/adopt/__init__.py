"""`autoresearch adopt`: a program.md for a goal of one's own."""
