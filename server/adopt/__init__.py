"""A way in for a goal of one's own: what a repository offers to measure, asked, tried, and written to program.md."""
