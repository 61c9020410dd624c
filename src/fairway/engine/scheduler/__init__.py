"""Pods without a node to nodes.

Reads: Pod, Node.   Writes: bindings, Pod status, Events.
Loop:  keyed.     Flow: snapshot -> plan -> controller.
"""

from fairway.engine.scheduler.room import run as run
