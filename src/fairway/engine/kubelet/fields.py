"""The downward API: fields and resources of a pod as text, for variables and files (pure)."""

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING

from fairway.engine.kubelet.errors import StartRefused
from fairway.kube.api import quantities
from fairway.kube.api.pods import Container, Pod, ResourceFieldSelector

_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


def field_text(pod: Pod, path: str, *, ip: str, host_ip: str) -> str:
    """The text of a field reference.  Raises StartRefused for a field that cannot be referred to."""
    if match := _SUBSCRIPT.match(path):
        values = pod.metadata.labels if match[1] == "labels" else pod.metadata.annotations
        return values.get(match[2], "")
    if path in ("metadata.labels", "metadata.annotations"):
        return _map_text(pod.metadata.labels if path.endswith("labels") else pod.metadata.annotations)
    simple = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.hostIP": host_ip,
        "status.hostIPs": host_ip,
        "status.podIP": ip,
        "status.podIPs": ip,
    }
    if path not in simple:
        raise StartRefused("CreateContainerConfigError", f"unsupported fieldPath: {path}")
    return simple[path]


def _map_text(values: Mapping[str, str]) -> str:
    return "\n".join(f'{key}="{_escaped(value)}"' for key, value in sorted(values.items()))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")


def resource_text(
    pod: Pod, container: Container | None, reference: ResourceFieldSelector, allocatable: Mapping[str, str]
) -> str:
    """A limit or request in units of the divisor, rounded up; a missing limit is what the node can give.

    Raises StartRefused for a container or resource that does not exist.
    """
    if reference.container_name:
        every = (*pod.spec.init_containers, *pod.spec.containers)
        container = next((each for each in every if each.name == reference.container_name), None)
    if container is None:
        raise StartRefused("CreateContainerConfigError", f"container {reference.container_name} not found")
    kind, _, name = reference.resource.partition(".")
    values = {"limits": container.resources.limits, "requests": container.resources.requests}.get(kind)
    if values is None or not name:
        message = f"unsupported container resource : {reference.resource}"
        raise StartRefused("CreateContainerConfigError", message)
    value = values.get(name, allocatable.get(name, "0") if kind == "limits" else "0")
    divisor = quantities.parse(reference.divisor) or quantities.parse("1")
    return str((quantities.parse(value) / divisor).to_integral_value(rounding=ROUND_CEILING))
