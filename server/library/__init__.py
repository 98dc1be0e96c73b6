"""The reference library: pages, papers and repositories as Markdown beside program.md."""
