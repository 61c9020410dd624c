"""Nodes that went silent: their Lease is old, so what they said about themselves is no longer known.

Reads: Node, Lease, Pod.   Writes: Node status and taints, Pod status.
Loop:  keyed.     Flow: plan -> controller.
"""
