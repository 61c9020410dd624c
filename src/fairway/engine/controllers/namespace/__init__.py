"""Namespaces that are deleted: everything in them first, then they themselves.

Reads: Namespace, and every namespaced kind.   Writes: deletes, Namespace status, `finalize`.
Loop:  keyed.     Flow: contents -> plan -> controller.
"""
