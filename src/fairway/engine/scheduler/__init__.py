"""Unbound Pods to nodes."""
