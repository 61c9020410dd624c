"""Pods of this node to containers to status."""
