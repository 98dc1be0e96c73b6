"""What a client sees: the MCP tools, their arguments and their answers."""
