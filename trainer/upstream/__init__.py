"""karpathy/autoresearch as it is."""
