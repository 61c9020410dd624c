"""ResourceQuotas to what is used of them. The API server itself keeps to them when something is created.

Reads: ResourceQuota, Pod, Service, PersistentVolumeClaim, and lists of other kinds.   Writes: ResourceQuota status.
Loop:  keyed.     Flow: plan -> controller.
"""
