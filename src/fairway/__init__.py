"""Fairway: a Git repository and a domain name in, a live HTTPS site out, on plain Kubernetes."""

__version__ = "0.1.0"
