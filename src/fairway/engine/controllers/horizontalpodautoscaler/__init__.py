"""HorizontalPodAutoscalers to the size of Deployments, ReplicaSets and StatefulSets.

Reads: HorizontalPodAutoscaler, Pod, Scale, PodMetrics.   Writes: Scale, HorizontalPodAutoscaler status, Events.
Loop:  keyed, every 15 seconds.     Flow: metrics -> snapshot -> plan (proposals, normalizing) -> controller.
"""
