"""The library read by agents: catalogue, search, passages."""
