"""Pods without a node to nodes.

Reads: Pod, Node, Namespace.   Writes: bindings, Pod status, Events.
Loop:  keyed.     Flow: snapshot -> plan (filters, spread, affinity, scoring) -> controller.
"""

from fairway.engine.scheduler.room import run as run
