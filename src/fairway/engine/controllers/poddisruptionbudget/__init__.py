"""PodDisruptionBudgets to how many pods may be evicted now.

Reads: PodDisruptionBudget, Pod, ReplicaSet, Deployment, StatefulSet.   Writes: PodDisruptionBudget status, Events.
Loop:  keyed.     Flow: plan -> controller. The API server takes from the budget when it evicts.
"""
