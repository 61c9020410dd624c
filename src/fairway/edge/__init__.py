"""Ingress objects to a running HAProxy."""
