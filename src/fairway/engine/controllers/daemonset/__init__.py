"""DaemonSets to one pod on every node that fits.

Reads: DaemonSet, Node, Pod, ControllerRevision.   Writes: Pod, ControllerRevision, DaemonSet status, Events.
Loop:  keyed.     Flow: snapshot -> plan (nodes, rolling, status) -> controller.
"""
