"""Cluster names to answers."""
