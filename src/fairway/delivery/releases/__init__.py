"""Releases: what an App's wishes become, put into the cluster, watched, and taken back when they do not work."""
