"""What is wrong with a Service (core/v1 validation)."""

import ipaddress

from fairway.engine.apiserver.resources import causes, names, selectors
from fairway.engine.apiserver.resources.kind import Cause, Object
from fairway.engine.apiserver.resources.pod_spec import validate_address
from fairway.engine.apiserver.resources.probes import validate_port

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
AFFINITIES = ("ClientIP", "None")
AFFINITY_SECONDS_MAX = 86400


def validate(new: Object, old: Object | None) -> list[Cause]:
    """All causes at once; an allocated address stays."""
    spec = new.get("spec") or {}
    found = [
        *_ports(spec),
        *causes.one_of("spec.type", spec.get("type"), TYPES),
        *_type(spec),
        *selectors.validate_labels(spec.get("selector"), "spec.selector"),
        *_affinity(spec),
        *_addresses(spec),
        *_policies(spec),
    ]
    return found if old is None else found + _changes(spec, old.get("spec") or {})


def _ports(spec: Object) -> list[Cause]:
    ports = spec.get("ports") or ()
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        return [causes.required("spec.ports")]
    found: list[Cause] = []
    seen_names: set[str] = set()
    seen_ports: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", port.get("name") or ""
        found += _port_name(name, f"{path}.name", len(ports) > 1, seen_names) + _port(port, path, spec)
        key = (port.get("protocol"), port.get("port"))
        if key in seen_ports:
            found.append(causes.duplicate(path, {"protocol": key[0], "port": key[1]}))
        seen_ports.add(key)
    return found + _node_ports(ports)


def _port_name(name: str, field: str, needed: bool, seen: set[str]) -> list[Cause]:
    if not name:
        return [causes.required(field)] if needed else []
    found = causes.invalid_each(field, name, names.dns_label(name))
    if name in seen:
        found.append(causes.duplicate(field, name))
    seen.add(name)
    return found


def _port(port: Object, path: str, spec: Object) -> list[Cause]:
    number = port.get("port") or 0
    found = causes.invalid_each(f"{path}.port", number, names.port_number(number))
    found += causes.one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)
    found += validate_port(port.get("targetPort"), f"{path}.targetPort")
    if port.get("appProtocol"):
        protocol = port["appProtocol"]
        found += causes.invalid_each(f"{path}.appProtocol", protocol, names.qualified(protocol))
    if port.get("nodePort") and spec.get("type") in ("ClusterIP", "ExternalName"):
        says = f"may not be used when `type` is '{spec['type']}'"
        found.append(causes.forbidden(f"{path}.nodePort", says))
    return found


def _node_ports(ports: list[Object] | tuple[()]) -> list[Cause]:
    found: list[Cause] = []
    seen: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        if not port.get("nodePort"):
            continue
        key = (port.get("protocol"), port["nodePort"])
        if key in seen:
            found.append(causes.duplicate(f"spec.ports[{index}].nodePort", port["nodePort"]))
        seen.add(key)
    return found


def _type(spec: Object) -> list[Cause]:
    kind, address = spec.get("type"), spec.get("clusterIP") or ""
    if kind == "ExternalName":
        return _external_name(spec)
    if kind in ("LoadBalancer", "NodePort") and address == "None":
        article = f"may not be set to 'None' for {kind} services"
        return [causes.invalid("spec.clusterIPs[0]", address, article)]
    return []


def _external_name(spec: Object) -> list[Cause]:
    found: list[Cause] = []
    for key in ("clusterIP", "clusterIPs"):
        if spec.get(key):
            found.append(causes.forbidden(f"spec.{key}", "may not be set for ExternalName services"))
    target = (spec.get("externalName") or "").removesuffix(".")
    if not target:
        return [*found, causes.required("spec.externalName")]
    return found + causes.invalid_each("spec.externalName", target, names.dns_subdomain(target))


def _affinity(spec: Object) -> list[Cause]:
    found = causes.one_of("spec.sessionAffinity", spec.get("sessionAffinity"), AFFINITIES)
    client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    seconds = client.get("timeoutSeconds")
    if spec.get("sessionAffinity") == "ClientIP" and not 0 < (seconds or 0) <= AFFINITY_SECONDS_MAX:
        says = f"must be greater than 0 and less than {AFFINITY_SECONDS_MAX}"
        found.append(causes.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, says))
    return found


def _addresses(spec: Object) -> list[Cause]:
    found: list[Cause] = []
    for index, address in enumerate(spec.get("externalIPs") or ()):
        found += validate_address(address, f"spec.externalIPs[{index}]")
    for index, address in enumerate(spec.get("clusterIPs") or ()):
        if address not in ("", "None"):
            found += validate_address(address, f"spec.clusterIPs[{index}]")
    if spec.get("clusterIPs") and spec.get("clusterIP") and spec["clusterIPs"][0] != spec["clusterIP"]:
        says = "first value must match `clusterIP`"
        found.append(causes.invalid("spec.clusterIPs", spec["clusterIPs"], says))
    for index, text in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        found += _range(text, f"spec.loadBalancerSourceRanges[{index}]")
    return found


def _range(text: str, field: str) -> list[Cause]:
    try:
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        says = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
        return [causes.invalid(field, text, says)]
    return []


def _policies(spec: Object) -> list[Cause]:
    found: list[Cause] = []
    outside = spec.get("type") in ("LoadBalancer", "NodePort") or bool(spec.get("externalIPs"))
    external, internal = spec.get("externalTrafficPolicy"), spec.get("internalTrafficPolicy")
    if external and not outside:
        says = "may only be set for externally-accessible services"
        found.append(causes.invalid("spec.externalTrafficPolicy", external, says))
    options = ("Cluster", "Local")
    found += causes.one_of("spec.externalTrafficPolicy", external, options, needed=False)
    found += causes.one_of("spec.internalTrafficPolicy", internal, options, needed=False)
    policies = ("PreferDualStack", "RequireDualStack", "SingleStack")
    found += causes.one_of("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), policies, needed=False)
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        found += causes.one_of(f"spec.ipFamilies[{index}]", family, ("IPv4", "IPv6"))
    return found


def _changes(new: Object, old: Object) -> list[Cause]:
    """The cluster address is set once, unless the service is or was an ExternalName."""
    if "ExternalName" in (new.get("type"), old.get("type")) or not old.get("clusterIP"):
        return []
    if not new.get("clusterIP"):
        return [causes.invalid("spec.clusterIPs[0]", new.get("clusterIPs") or [], "primary clusterIP can not be unset")]
    if new["clusterIP"] != old["clusterIP"]:
        return [causes.invalid("spec.clusterIPs[0]", [new["clusterIP"]], "may not change once set")]
    return []
