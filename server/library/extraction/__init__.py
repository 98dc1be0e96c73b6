"""Pages and papers read as Markdown, in a confined process."""
