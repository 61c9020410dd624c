"""Deployments to ReplicaSets: rolling updates, scaling, history.

Reads: Deployment, ReplicaSet, Pod.   Writes: ReplicaSet, Deployment status, Events.
Loop:  keyed.     Flow: snapshot -> plan (rolling | recreate | scaling, revisions, status) -> controller.
"""
