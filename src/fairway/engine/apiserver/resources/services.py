"""Services: a stable address in front of changing pods. Addresses and node ports are allocated by the registry."""

from datetime import datetime

from fairway.engine.apiserver.resources import names, selectors
from fairway.engine.apiserver.resources.defaulting import child, fill, fill_numbers
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Column,
    Kind,
    Object,
    age_of,
    keep_status,
    name_of,
)
from fairway.engine.apiserver.resources.service_rules import validate

NONE = "<none>"
CLUSTER_IP, NODE_PORT, LOAD_BALANCER, EXTERNAL_NAME = "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"
HEADLESS = "None"
AFFINITY_SECONDS = 10800

COLUMNS = (
    NAME,
    Column("Type", "string", "How the Service is exposed."),
    Column("Cluster-IP", "string", "The address of the service inside the cluster."),
    Column("External-IP", "string", "The addresses at which the service accepts traffic from outside."),
    Column("Port(s)", "string", "The list of ports that are exposed by this service."),
    AGE,
    Column("Selector", "string", "Route service traffic to pods with these labels.", priority=1),
)


def default(service: Object) -> None:
    """core/v1 SetDefaults_Service, and the address family that an IPv4 cluster gives."""
    spec = child(service, "spec")
    fill(spec, "sessionAffinity", "None")
    fill(spec, "type", CLUSTER_IP)
    for port in spec.get("ports") or ():
        fill(port, "protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port")
    _affinity(spec)
    _policies(spec)
    _families(spec)
    child(child(service, "status"), "loadBalancer")


def prepare_create(service: Object) -> None:
    """A new service has no load balancer yet."""
    service["status"] = {"loadBalancer": {}}


def prepare_update(new: Object, old: Object) -> None:
    """Allocated addresses and ports stay when the update leaves them out; fields of a former type go."""
    keep_status(new, old)
    before, after = old.get("spec") or {}, new["spec"]
    _keep_addresses(after, before)
    _keep_node_ports(after, before)
    _drop_former_type(after, before)


def row(service: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec = service.get("spec") or {}
    addresses = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [
        name_of(service),
        spec.get("type") or CLUSTER_IP,
        addresses[0] if addresses else NONE,
        _external(spec, service.get("status") or {}),
        ",".join(_port(port) for port in spec.get("ports") or ()) or NONE,
        age_of(service, now),
        selectors.labels_text(spec.get("selector")),
    ]


def selectable(service: Object) -> dict[str, str]:
    """The field selectors of services."""
    spec = service.get("spec") or {}
    return {"spec.clusterIP": spec.get("clusterIP") or "", "spec.type": spec.get("type") or ""}


def _affinity(spec: Object) -> None:
    if spec["sessionAffinity"] != "ClientIP":
        spec.pop("sessionAffinityConfig", None)
        return
    fill_numbers(child(child(spec, "sessionAffinityConfig"), "clientIP"), {"timeoutSeconds": AFFINITY_SECONDS})


def _policies(spec: Object) -> None:
    outside = spec["type"] in (NODE_PORT, LOAD_BALANCER) or (spec["type"] == CLUSTER_IP and spec.get("externalIPs"))
    if outside:
        fill(spec, "externalTrafficPolicy", "Cluster")
    if spec["type"] != EXTERNAL_NAME:
        fill(spec, "internalTrafficPolicy", "Cluster")
    if spec["type"] == LOAD_BALANCER and spec.get("allocateLoadBalancerNodePorts") is None:
        spec["allocateLoadBalancerNodePorts"] = True


def _families(spec: Object) -> None:
    """One family, IPv4. A headless service without a selector may have endpoints of both."""
    if spec["type"] == EXTERNAL_NAME:
        return
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    both = spec.get("clusterIP") == HEADLESS and not spec.get("selector")
    fill(spec, "ipFamilyPolicy", "RequireDualStack" if both else "SingleStack")
    if not spec.get("ipFamilies"):
        spec["ipFamilies"] = ["IPv4", "IPv6"] if both else ["IPv4"]


def _keep_addresses(after: Object, before: Object) -> None:
    if after["type"] == EXTERNAL_NAME or before.get("type") == EXTERNAL_NAME:
        return
    if not after.get("clusterIP") and not after.get("clusterIPs"):
        for key in ("clusterIP", "clusterIPs"):
            if before.get(key):
                after[key] = before[key]
    elif after.get("clusterIPs") and not after.get("clusterIP"):
        after["clusterIP"] = after["clusterIPs"][0]
    elif after.get("clusterIP") != before.get("clusterIP") and after.get("clusterIPs") == before.get("clusterIPs"):
        after["clusterIPs"] = [after["clusterIP"]]


def _keep_node_ports(after: Object, before: Object) -> None:
    outside = (NODE_PORT, LOAD_BALANCER)
    if after["type"] not in outside or before.get("type") not in outside:
        return
    known = {_identity(port): port.get("nodePort") for port in before.get("ports") or ()}
    taken = {port.get("nodePort") for port in after.get("ports") or ()}
    for port in after.get("ports") or ():
        former = known.get(_identity(port))
        if not port.get("nodePort") and former and former not in taken:
            port["nodePort"] = former
    if after.get("externalTrafficPolicy") == "Local" and before.get("healthCheckNodePort"):
        fill_numbers(after, {"healthCheckNodePort": before["healthCheckNodePort"]})


def _identity(port: Object) -> tuple[object, object]:
    return port.get("protocol"), port.get("port")


def _drop_former_type(after: Object, before: Object) -> None:
    """What a type change makes meaningless is dropped when the user left it as it was."""
    was_outside = before.get("type") in (NODE_PORT, LOAD_BALANCER)
    if was_outside and after["type"] in (CLUSTER_IP, EXTERNAL_NAME):
        _drop_node_ports(after, before)
    if before.get("type") != EXTERNAL_NAME and after["type"] == EXTERNAL_NAME:
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            _drop_unchanged(after, before, key)
    if before.get("type") == EXTERNAL_NAME and after["type"] != EXTERNAL_NAME:
        _drop_unchanged(after, before, "externalName")
    if before.get("type") == LOAD_BALANCER and after["type"] != LOAD_BALANCER:
        _drop_unchanged(after, before, "allocateLoadBalancerNodePorts")
        _drop_unchanged(after, before, "loadBalancerClass")


def _drop_node_ports(after: Object, before: Object) -> None:
    former = {_identity(port): port.get("nodePort") for port in before.get("ports") or ()}
    for port in after.get("ports") or ():
        if port.get("nodePort") and former.get(_identity(port)) == port["nodePort"]:
            del port["nodePort"]
    if not (after["type"] == CLUSTER_IP and after.get("externalIPs")):
        _drop_unchanged(after, before, "externalTrafficPolicy")
    _drop_unchanged(after, before, "healthCheckNodePort")


def _drop_unchanged(after: Object, before: Object, key: str) -> None:
    if after.get(key) == before.get(key):
        after.pop(key, None)


def _external(spec: Object, status: Object) -> str:
    if spec.get("type") == EXTERNAL_NAME:
        return spec.get("externalName") or NONE
    given = list(spec.get("externalIPs") or ())
    if spec.get("type") != LOAD_BALANCER:
        return ",".join(given) or NONE
    balancers = (status.get("loadBalancer") or {}).get("ingress") or ()
    reached = sorted({item.get("ip") or item.get("hostname") or "" for item in balancers} - {""})
    return ",".join(reached + given) or "<pending>"


def _port(port: Object) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node_port}/{port.get('protocol') or 'TCP'}"


SERVICES = Kind(
    group="",
    version="v1",
    kind="Service",
    plural="services",
    singular="service",
    namespaced=True,
    list_kind="ServiceList",
    create_on_update=True,
    short_names=("svc",),
    categories=("all",),
    subresources=("proxy", "status"),
    columns=COLUMNS,
    row=row,
    default=default,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    validate=validate,
    selectable=selectable,
    delete_returns_object=True,
    name_rule=names.dns_1035_label,
)
