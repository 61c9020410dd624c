"""Bytes of request bodies to JSON-like objects."""
