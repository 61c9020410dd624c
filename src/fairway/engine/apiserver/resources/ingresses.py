"""Ingresses: hosts and paths to Services."""

from datetime import datetime

from fairway.engine.apiserver.resources.ingress_rules import validate
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Column,
    Kind,
    Object,
    age_of,
    bump_generation,
    name_of,
)

NONE = "<none>"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_HOSTS_MAX = 3

COLUMNS = (
    NAME,
    Column("Class", "string", "The name of the IngressClass that should be used."),
    Column("Hosts", "string", "Hosts that incoming requests are matched against before the ingress rule"),
    Column("Address", "string", "Address is a list containing ingress points for the load-balancer"),
    Column("Ports", "string", "Ports of TLS configurations that open"),
    AGE,
)


def prepare_create(ingress: Object) -> None:
    """The status is the ingress controller's."""
    ingress["status"] = {"loadBalancer": {}}
    ingress["metadata"]["generation"] = 1


def row(ingress: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec = ingress.get("spec") or {}
    annotations = (ingress.get("metadata") or {}).get("annotations") or {}
    return [
        name_of(ingress),
        spec.get("ingressClassName") or annotations.get(CLASS_ANNOTATION) or NONE,
        _hosts(spec),
        _address(ingress.get("status") or {}),
        "80, 443" if spec.get("tls") else "80",
        age_of(ingress, now),
    ]


def _hosts(spec: Object) -> str:
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    if not hosts:
        return "*"
    shown = ",".join(hosts[:_HOSTS_MAX])
    return shown if len(hosts) <= _HOSTS_MAX else f"{shown} + {len(hosts) - _HOSTS_MAX} more..."


def _address(status: Object) -> str:
    points = (status.get("loadBalancer") or {}).get("ingress") or ()
    return ",".join(point.get("ip") or point.get("hostname") or "" for point in points)


INGRESSES = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="Ingress",
    plural="ingresses",
    singular="ingress",
    namespaced=True,
    list_kind="IngressList",
    short_names=("ing",),
    subresources=("status",),
    columns=COLUMNS,
    row=row,
    prepare_create=prepare_create,
    prepare_update=bump_generation,
    validate=validate,
)
