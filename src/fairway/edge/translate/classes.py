"""Which Ingresses are ours."""

from fairway.edge.snapshot import Snapshot
from fairway.kube.api.ingresses import Ingress

CONTROLLER = "fairway.dev/ingress"
CONTROLLERS = (CONTROLLER, "k8s.io/ingress-nginx")
ANNOTATION = "kubernetes.io/ingress.class"
ANNOTATION_NAMES = ("fairway", "nginx")


def serves(ingress: Ingress, snapshot: Snapshot) -> bool:
    """The old annotation decides first, then the class by name, then the default class."""
    annotation = ingress.metadata.annotations.get(ANNOTATION)
    if annotation:
        return annotation in ANNOTATION_NAMES or _ours(snapshot, annotation)
    name = ingress.spec.ingress_class_name
    if name is not None:
        return _ours(snapshot, name)
    return any(item.default and item.spec.controller in CONTROLLERS for item in snapshot.classes.values())


def _ours(snapshot: Snapshot, name: str) -> bool:
    found = snapshot.classes.get(name)
    return found is not None and found.spec.controller in CONTROLLERS
