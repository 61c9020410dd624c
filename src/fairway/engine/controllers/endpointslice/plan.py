"""Which EndpointSlices to write so that they hold the endpoints of a Service, touching as few as possible."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from fairway.engine.controllers.caches import SERVICE_NAME
from fairway.engine.controllers.endpointslice.endpoints import Member, Ports
from fairway.kube.api.noun import encode
from fairway.kube.api.services import Endpoint, EndpointSlice, Service

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
ENDPOINTS_MAX = 100
ADDRESS_TYPE = "IPv4"
_NOT_COPIED = {HEADLESS, SERVICE_NAME, MANAGED_BY, "endpoints.kubernetes.io/managed-by"}


class Plan(msgspec.Struct, frozen=True):
    """Slices to make and to replace (raw JSON), and to delete."""

    create: tuple[Mapping[str, Any], ...] = ()
    update: tuple[Mapping[str, Any], ...] = ()
    delete: tuple[EndpointSlice, ...] = ()


def plan(service: Service, members: Sequence[Member], existing: Iterable[EndpointSlice]) -> Plan:
    """Decide. Slices of other managers, and those on their way out, are not ours to touch."""
    all_parts = sorted(existing, key=lambda part: part.metadata.name)
    taken = {part.metadata.name for part in all_parts}
    ours = [
        part
        for part in all_parts
        if part.metadata.labels.get(MANAGED_BY) == MANAGER and part.metadata.deletion_timestamp is None
    ]
    kept: dict[str, Mapping[str, Any]] = {}
    fresh: list[Mapping[str, Any]] = []
    for ports, endpoints in _by_ports(members).items():
        same = [part for part in ours if part.ports == ports and part.address_type == ADDRESS_TYPE]
        filled, rest = _fill(same, endpoints)
        kept.update({part.metadata.name: _raw(service, part, ports, held) for part, held in filled if held})
        fresh += _more(service, ports, rest, taken)
    if not kept and not fresh:
        return _placeholder(service, ours, taken)
    return Plan(tuple(fresh), _changed(service, ours, kept), _gone(ours, kept))


def wanted_labels(service: Service) -> dict[str, str]:
    """The Service's own labels, and those by which slices are found."""
    copied = {key: value for key, value in service.metadata.labels.items() if key not in _NOT_COPIED}
    headless = {HEADLESS: ""} if service.spec.cluster_ip == "None" else {}
    return {**copied, **headless, SERVICE_NAME: service.metadata.name, MANAGED_BY: MANAGER}


def _by_ports(members: Sequence[Member]) -> dict[Ports, list[Endpoint]]:
    """A slice has one set of ports, and pods may differ in what a named port means."""
    grouped: dict[Ports, list[Endpoint]] = {}
    for member in members:
        grouped.setdefault(member.ports, []).append(member.endpoint)
    return grouped


def _fill(
    slices: Sequence[EndpointSlice], endpoints: Sequence[Endpoint]
) -> tuple[list[tuple[EndpointSlice, list[Endpoint]]], list[Endpoint]]:
    """Endpoints stay where they are; new ones go where there is room. Returns also what found none."""
    waiting = {_identity(endpoint): endpoint for endpoint in endpoints}
    filled = [
        (part, [waiting.pop(_identity(held)) for held in part.endpoints if _identity(held) in waiting])
        for part in slices
    ]
    rest = list(waiting.values())
    for _, held in filled:
        room = ENDPOINTS_MAX - len(held) if held else 0
        held += rest[:room]
        rest = rest[room:]
    if rest and filled and not any(held for _, held in filled):
        filled[0][1].extend(rest[:ENDPOINTS_MAX])  # better one emptied slice used again than a new one
        rest = rest[ENDPOINTS_MAX:]
    return filled, rest


def _identity(endpoint: Endpoint) -> tuple[str, tuple[str, ...]]:
    return (endpoint.target_ref.uid if endpoint.target_ref else "", endpoint.addresses)


def _more(service: Service, ports: Ports, endpoints: Sequence[Endpoint], taken: set[str]) -> list[Mapping[str, Any]]:
    pieces = [endpoints[start : start + ENDPOINTS_MAX] for start in range(0, len(endpoints), ENDPOINTS_MAX)]
    made: list[Mapping[str, Any]] = []
    for piece in pieces:
        name = _free_name(service, ports, taken)
        taken.add(name)
        made.append(_draft(service, name, ports, piece))
    return made


def _placeholder(service: Service, ours: Sequence[EndpointSlice], taken: set[str]) -> Plan:
    """A Service without endpoints has one empty slice, so that readers see that it was looked at."""
    if not ours:
        return Plan((_draft(service, _free_name(service, (), taken), (), ()),))
    kept = {ours[0].metadata.name: _raw(service, ours[0], (), ())}
    return Plan((), _changed(service, ours, kept), tuple(ours[1:]))


def _changed(
    service: Service, ours: Iterable[EndpointSlice], kept: Mapping[str, Mapping[str, Any]]
) -> tuple[Mapping[str, Any], ...]:
    by_name = {part.metadata.name: part for part in ours}
    return tuple(raw for name, raw in kept.items() if raw != _as_it_is(service, by_name[name]))


def _gone(ours: Iterable[EndpointSlice], kept: Mapping[str, object]) -> tuple[EndpointSlice, ...]:
    return tuple(part for part in ours if part.metadata.name not in kept)


def _raw(
    service: Service,
    part: EndpointSlice,
    ports: Ports,
    endpoints: Iterable[Endpoint],
) -> dict[str, Any]:
    """A slice that is there, with other content."""
    raw = _draft(service, part.metadata.name, ports, endpoints)
    raw["metadata"]["resourceVersion"] = part.metadata.resource_version
    return raw


def _as_it_is(service: Service, part: EndpointSlice) -> dict[str, Any]:
    raw = _raw(service, part, part.ports, part.endpoints)
    raw["metadata"]["labels"] = dict(part.metadata.labels)
    return raw


def _draft(service: Service, name: str, ports: Ports, endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    metadata = service.metadata
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "generateName": f"{metadata.name}-",
            "namespace": metadata.namespace,
            "labels": wanted_labels(service),
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": metadata.name,
                    "uid": metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": ADDRESS_TYPE,
        "endpoints": [encode(endpoint) for endpoint in endpoints],
        "ports": [{"name": port.name, "protocol": port.protocol, **encode(port)} for port in ports],
    }


def _free_name(service: Service, ports: Ports, taken: set[str]) -> str:
    """The same name in every run, so that a cache that lags cannot lead to a second slice of the same content."""
    for attempt in range(len(taken) + 1):
        seed = f"{service.metadata.uid}/{msgspec.json.encode(ports).decode()}/{attempt}"
        name = f"{service.metadata.name}-{_letters(seed)}"
        if name not in taken:
            return name
    raise AssertionError("more names than slices were tried")


def _letters(seed: str) -> str:
    alphabet = "bcdfghjklmnpqrstvwxz2456789"
    return "".join(alphabet[byte % len(alphabet)] for byte in hashlib.sha256(seed.encode()).digest()[:5])
