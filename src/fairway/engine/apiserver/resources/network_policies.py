"""NetworkPolicies: which traffic pods may have."""

import ipaddress
from datetime import datetime
from typing import Any

from fairway.engine.apiserver.resources import causes, selectors
from fairway.engine.apiserver.resources.defaulting import child, fill
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    count_generation,
    generation_only,
    name_of,
)
from fairway.engine.apiserver.resources.probes import validate_port

PROTOCOLS = ("SCTP", "TCP", "UDP")


def default(policy: Object) -> None:
    """networking/v1 SetDefaults_NetworkPolicy."""
    spec = child(policy, "spec")
    child(spec, "podSelector")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        for port in rule.get("ports") or ():
            fill(port, "protocol", "TCP")


def validate(new: Object, old: Object | None) -> list[Cause]:
    """networking.k8s.io validation."""
    spec = new.get("spec") or {}
    found = selectors.validate_selector(spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            found += _ports(rule.get("ports") or (), f"{path}.ports")
            found += _peers(rule.get(peers) or (), f"{path}.{peers}")
    for index, kind in enumerate(spec.get("policyTypes") or ()):
        found += causes.one_of(f"spec.policyTypes[{index}]", kind, ("Egress", "Ingress"))
    return found


def row(policy: Object, now: datetime) -> list[object]:
    """One cell per column."""
    selector = (policy.get("spec") or {}).get("podSelector")
    return [name_of(policy), selectors.selector_text(selector), age_of(policy, now)]


def _ports(ports: Any, field: str) -> list[Cause]:
    found: list[Cause] = []
    for index, port in enumerate(ports):
        path = f"{field}[{index}]"
        found += causes.one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS, needed=False)
        if port.get("port") is not None:
            found += validate_port(port["port"], f"{path}.port")
        elif port.get("endPort") is not None:
            found.append(causes.required(f"{path}.port", "must be specified when `endPort` is specified"))
        if isinstance(port.get("port"), int) and (port.get("endPort") or port["port"]) < port["port"]:
            says = "must be greater than or equal to `port`"
            found.append(causes.invalid(f"{path}.endPort", port["endPort"], says))
    return found


def _peers(peers: Any, field: str) -> list[Cause]:
    found: list[Cause] = []
    for index, peer in enumerate(peers):
        path = f"{field}[{index}]"
        given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
        if not given:
            found.append(causes.required(path, "must specify a peer"))
        elif "ipBlock" in given and len(given) > 1:
            says = "may not specify both ipBlock and another peer"
            found.append(causes.forbidden(path, says))
        for key in given:
            if key == "ipBlock":
                found += _block(peer[key], f"{path}.{key}")
            else:
                found += selectors.validate_selector(peer[key], f"{path}.{key}")
    return found


def _block(block: Object, path: str) -> list[Cause]:
    text = block.get("cidr") or ""
    if not text:
        return [causes.required(f"{path}.cidr")]
    found = _network(text, f"{path}.cidr")
    for index, hole in enumerate(block.get("except") or ()):
        at = f"{path}.except[{index}]"
        wrong = _network(hole, at)
        if not wrong and not found and not _inside(hole, text):
            wrong = [causes.invalid(at, hole, "must be a strict subset of `cidr`")]
        found = found + wrong
    return found


def _network(text: str, field: str) -> list[Cause]:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        says = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
        return [causes.invalid(field, text, says)]
    return []


def _inside(hole: str, text: str) -> bool:
    inner, outer = (ipaddress.ip_network(item, strict=False) for item in (hole, text))
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner != outer and inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner != outer and inner.subnet_of(outer)
    return False


NETWORK_POLICIES = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="NetworkPolicy",
    plural="networkpolicies",
    singular="networkpolicy",
    namespaced=True,
    list_kind="NetworkPolicyList",
    short_names=("netpol",),
    columns=(NAME, Column("Pod-Selector", "string", "Selects the pods to which this policy applies."), AGE),
    row=row,
    default=default,
    prepare_create=generation_only,
    prepare_update=count_generation,
    validate=validate,
)
