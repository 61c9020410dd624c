"""Whether a node is one for the pods of a DaemonSet."""

import msgspec

from fairway.kube.api.config import Node
from fairway.kube.api.placement import untolerated, wants
from fairway.kube.api.pods import PodSpec


class Fit(msgspec.Struct, frozen=True):
    """Whether a pod should be there, and whether one that is there may go on."""

    start: bool
    go_on: bool


def fit(spec: PodSpec, node: Node) -> Fit:
    """By name, labels and taints; what is free on the node is the scheduler's question."""
    named = not spec.node_name or spec.node_name == node.metadata.name
    if not named or not wants(spec, node):
        return Fit(start=False, go_on=False)
    taints, tolerations = node.spec.taints, spec.tolerations
    return Fit(
        start=untolerated(taints, tolerations, "NoSchedule", "NoExecute") is None,
        go_on=untolerated(taints, tolerations, "NoExecute") is None,
    )
