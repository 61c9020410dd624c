"""The pods of a DaemonSet: its template, bound to one node, putting up with what a node's own service must."""

from collections.abc import Mapping
from typing import Any

from fairway.engine.controllers.pod_drafts import draft, unique_name
from fairway.engine.controllers.references import owner_reference
from fairway.engine.controllers.revisions import REVISION_LABEL
from fairway.kube.api.daemonsets import DaemonSet
from fairway.kube.api.noun import decode, encode, without_nulls
from fairway.kube.api.pods import PodSpec, Toleration
from fairway.kube.api.resource import DAEMON_SETS

GENERATION_LABEL = "pod-template-generation"
GENERATION_ANNOTATION = "deprecated.daemonset.template.generation"
_NODE = "node.kubernetes.io/"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)
"""Taints of nodes in trouble (documentation "DaemonSet", "Taints and tolerations")."""


def daemon_spec(daemon_set: DaemonSet) -> PodSpec:
    """The template's spec with the tolerations that daemons have, as nodes are judged by it."""
    return decode(PodSpec, _spec(daemon_set.spec.template))


def new_pod(daemon_set: DaemonSet, node: str, tag: str, suffix: str) -> dict[str, Any]:
    """A pod for that node, in raw JSON; `tag` is the hash of the template."""
    metadata = daemon_set.metadata
    name = unique_name(f"{metadata.name}-", suffix)
    pod = draft(daemon_set.spec.template, metadata.namespace, name, owner_reference(DAEMON_SETS, metadata))
    pod["metadata"]["generateName"] = f"{metadata.name}-"
    pod["metadata"]["labels"][REVISION_LABEL] = tag
    if generation := metadata.annotations.get(GENERATION_ANNOTATION):
        pod["metadata"]["labels"][GENERATION_LABEL] = generation
    pod["spec"] = _spec(daemon_set.spec.template)
    _bind(pod["spec"], node)
    return pod


def _spec(template: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = dict(without_nulls(template).get("spec", {}))
    taints = (*TOLERATED, ("network-unavailable", "NoSchedule")) if spec.get("hostNetwork") else TOLERATED
    added = [encode(Toleration(key=_NODE + key, operator="Exists", effect=effect)) for key, effect in taints]
    given = spec.get("tolerations", [])
    spec["tolerations"] = [*given, *(item for item in added if item not in given)]
    return spec


def _bind(spec: dict[str, Any], node: str) -> None:
    """The scheduler still decides, but one node alone is left to it; what else the template required was checked."""
    affinity = dict(spec.get("affinity", {}))
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    node_affinity = {**affinity.get("nodeAffinity", {}), _REQUIRED: {"nodeSelectorTerms": [term]}}
    spec["affinity"] = {**affinity, "nodeAffinity": node_affinity}
