"""StatefulSets to pods with names and disks of their own.

Reads: StatefulSet, Pod, ControllerRevision, PersistentVolumeClaim.
Writes: Pod, ControllerRevision, PersistentVolumeClaim, StatefulSet status, Events.
Loop:  keyed.     Flow: snapshot -> plan (pods, claims, status) -> controller.
"""
