"""Sources fetched: addresses checked, sizes and times limited."""
