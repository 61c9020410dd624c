"""argv to API to table."""
