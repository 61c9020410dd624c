"""ReplicaSets to Pods: as many as wanted, no more and no fewer.

Reads: ReplicaSet, Pod.   Writes: Pod, ReplicaSet status, Events.
Loop:  keyed.     Flow: ownership, expectations -> plan -> controller.
"""
