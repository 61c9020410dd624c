"""What a kubelet may: its own node, and what the pods on it refer to (the Node authorizer).

Follows the documentation "Using Node Authorization".
"""

from collections.abc import Iterable, Iterator
from typing import Any

from fairway.engine.apiserver.authentication import User
from fairway.engine.apiserver.authorization.attributes import Attributes
from fairway.engine.apiserver.authorization.policy import NODE_RULES
from fairway.engine.apiserver.store import Key, Store

_PREFIX, _GROUP = "system:node:", "system:nodes"
_LEASES = "kube-node-lease"
_OWN_VERBS = ("create", "delete", "get", "patch", "update")

Object = dict[str, Any]


def node_of(user: User) -> str:
    """The name of the node that a user is, or an empty string."""
    if not user.name.startswith(_PREFIX) or _GROUP not in user.groups:
        return ""
    return user.name.removeprefix(_PREFIX)


class NodeAuthorizer:
    """Looks at the store when it is asked: only kubelets on other machines ask."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def allows(self, attributes: Attributes) -> bool:
        node = node_of(attributes.user)
        if not node or not attributes.resource:
            return False
        match attributes.resource, attributes.subresource:
            case "secrets" | "configmaps", "":
                return self._reads(attributes) and self._referred(node, attributes)
            case "persistentvolumeclaims", _:
                return self._static(attributes) and self._referred(node, attributes)
            case "persistentvolumes", _:
                return self._static(attributes) and self._volume_used(node, attributes.name)
            case "serviceaccounts", "token":
                return attributes.verb == "create" and self._referred(node, attributes)
            case "pods", "" if attributes.verb == "get":
                return self._on_node(node, attributes)
            case "nodes", "" if attributes.verb == "get":
                return attributes.name == node
            case "leases", "":
                return attributes.namespace == _LEASES and _own(node, attributes)
            case "csinodes", "":
                return _own(node, attributes)
        return self._static(attributes)

    def objection(self, attributes: Attributes) -> str:
        """Why not, when a node asks for an object that is none of its business."""
        node = node_of(attributes.user)
        if not node or not attributes.name or not self._static(attributes):
            return ""
        return f"no relationship found between node '{node}' and this object"

    def _static(self, wanted: Attributes) -> bool:
        return any(
            rule.speaks_of(wanted.verb, wanted.group, wanted.resource, wanted.subresource) for rule in NODE_RULES
        )

    def _reads(self, wanted: Attributes) -> bool:
        return wanted.verb in ("get", "list", "watch") and bool(wanted.name) and not wanted.group

    def _pods(self, node: str, namespace: str | None) -> Iterator[Object]:
        mark = node.encode()
        for entry in self._store.select("pods", namespace):
            if mark in entry.data:
                pod = entry.object()
                if (pod.get("spec") or {}).get("nodeName") == node:
                    yield pod

    def _referred(self, node: str, wanted: Attributes) -> bool:
        pods = self._pods(node, wanted.namespace)
        return any((wanted.resource, wanted.name) in references(pod) for pod in pods)

    def _on_node(self, node: str, wanted: Attributes) -> bool:
        entry = self._store.get(Key("pods", wanted.namespace, wanted.name))
        return entry is None or (entry.object().get("spec") or {}).get("nodeName") == node

    def _volume_used(self, node: str, name: str) -> bool:
        entry = self._store.get(Key("persistentvolumes", "", name))
        claim = (entry.object().get("spec") or {}).get("claimRef") or {} if entry is not None else {}
        wanted = ("persistentvolumeclaims", claim.get("name"))
        return bool(claim) and any(wanted in references(pod) for pod in self._pods(node, str(claim.get("namespace"))))


def references(pod: Object) -> set[tuple[str, str]]:
    """(resource, name) of what a pod needs from its namespace."""
    spec = pod.get("spec") or {}
    found = {("serviceaccounts", str(spec.get("serviceAccountName") or ""))}
    found |= {("secrets", str(each.get("name"))) for each in spec.get("imagePullSecrets") or ()}
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        found |= set(_of_variables(container))
    for volume in spec.get("volumes") or ():
        found |= set(_of_volume(volume))
    return found


def _of_variables(container: Object) -> Iterable[tuple[str, str]]:
    sources = [variable.get("valueFrom") or {} for variable in container.get("env") or ()]
    for source in sources:
        for key, resource in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
            if source.get(key):
                yield resource, str(source[key].get("name"))
    for source in container.get("envFrom") or ():
        for key, resource in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if source.get(key):
                yield resource, str(source[key].get("name"))


def _of_volume(volume: Object) -> Iterable[tuple[str, str]]:
    if volume.get("secret"):
        yield "secrets", str(volume["secret"].get("secretName"))
    if volume.get("persistentVolumeClaim"):
        yield "persistentvolumeclaims", str(volume["persistentVolumeClaim"].get("claimName"))
    if volume.get("ephemeral"):
        yield "persistentvolumeclaims", str(volume.get("name"))
    for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
        if source.get("configMap"):
            yield "configmaps", str(source["configMap"].get("name"))
        if source is not volume and source.get("secret"):
            yield "secrets", str(source["secret"].get("name"))


def _own(node: str, wanted: Attributes) -> bool:
    """A node's object of the same name; a creation does not know its name yet, admission looks at it."""
    return wanted.verb in _OWN_VERBS and (wanted.name == node or (wanted.verb == "create" and not wanted.name))
