"""What a client sees: tools and answers."""
