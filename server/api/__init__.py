"""What a client sees: tools, arguments, answers."""
