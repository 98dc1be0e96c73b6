"""What commands show in a terminal of eighty columns."""
