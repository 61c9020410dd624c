"""Services and EndpointSlices to the ruleset they ask for.

Which endpoints get traffic follows kube-proxy: the ready ones; if there is none, those that terminate but still serve
(KEP-1669).  With one node, the traffic policies Cluster and Local mean the same.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import IntEnum
from typing import NamedTuple

import msgspec

from fairway.engine.serviceproxy import ir
from fairway.engine.serviceproxy.ir import ANY_LOCAL, PROTOCOLS, Backend, Frontend, Pool, Ruleset
from fairway.engine.serviceproxy.snapshot import Facts, Snapshot
from fairway.kube.api.meta import ObjectKey, ObjectReference
from fairway.kube.api.services import EndpointSlice, Service, ServicePort

_AFFINITY_SECONDS = 10800
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rank(IntEnum):
    """Which claim on a frontend wins; a user's external address must never capture a cluster address."""

    CLUSTER_IP = 0
    NODE_PORT = 1
    LOAD_BALANCER = 2
    EXTERNAL_IP = 3


class Claim(NamedTuple):
    """What one port of a Service wants to have."""

    frontend: Frontend
    pool: Pool
    rank: Rank


class Problem(msgspec.Struct, frozen=True):
    """Something in a Service that cannot be done, for an Event on it."""

    service: ObjectReference
    reason: str
    message: str


class Demand(msgspec.Struct, frozen=True):
    """What one Service wants."""

    service: Service
    claims: tuple[Claim, ...] = ()
    problems: tuple[Problem, ...] = ()


class Translation(msgspec.Struct, frozen=True):
    """The ruleset, whose each frontend is, and what was left out; also the memory for the next translation."""

    snapshot: Snapshot = {}
    demands: Mapping[ObjectKey, Demand] = {}
    owners: Mapping[Frontend, ObjectKey] = {}
    ruleset: Ruleset = Ruleset()
    problems: tuple[Problem, ...] = ()


def translate(snapshot: Snapshot, before: Translation | None = None) -> Translation:
    """The ruleset for a picture.

    The result depends on the picture alone; `before` only saves work: Services with identical Facts are not looked at
    again, and when no frontend comes or goes only the changed pools are exchanged.
    """
    before = before or Translation()
    fresh = {key: _demand(facts) for key, _, facts in ir.differing(before.snapshot, snapshot) if facts}
    if len(snapshot) == len(before.snapshot) and all(_same_frontends(before, key, new) for key, new in fresh.items()):
        return _exchange(snapshot, before, fresh)
    return _settle(snapshot, {key: fresh.get(key) or before.demands[key] for key in snapshot})


def _same_frontends(before: Translation, key: ObjectKey, new: Demand) -> bool:
    old = before.demands.get(key)
    if old is None or old.problems != new.problems or len(old.claims) != len(new.claims):
        return False
    if old.service is new.service:
        return True
    if old.service.metadata.creation_timestamp != new.service.metadata.creation_timestamp:
        return False
    return all(a.frontend == b.frontend and a.rank == b.rank for a, b in zip(old.claims, new.claims, strict=True))


def _exchange(snapshot: Snapshot, before: Translation, fresh: Mapping[ObjectKey, Demand]) -> Translation:
    pools = {
        claim.frontend: claim.pool
        for key, demand in fresh.items()
        for claim in demand.claims
        if before.owners[claim.frontend] == key and before.ruleset.pools[claim.frontend] != claim.pool
    }
    ruleset = ir.replace(before.ruleset, pools) if pools else before.ruleset
    demands = dict(before.demands)
    demands.update(fresh)
    return Translation(snapshot, demands, before.owners, ruleset, before.problems)


def _settle(snapshot: Snapshot, demands: Mapping[ObjectKey, Demand]) -> Translation:
    """Give every frontend to one Service; the others that claimed it are told."""
    owners: dict[Frontend, ObjectKey] = {}
    won: dict[Frontend, Claim] = {}
    problems = [problem for demand in demands.values() for problem in demand.problems]
    for key, demand in demands.items():
        for claim in demand.claims:
            rival = owners.setdefault(claim.frontend, key)
            if rival == key:
                won.setdefault(claim.frontend, claim)
                continue
            ours = _precedence(claim, demand) < _precedence(won[claim.frontend], demands[rival])
            loser, winner = (rival, key) if ours else (key, rival)
            if ours:
                owners[claim.frontend], won[claim.frontend] = key, claim
            problems.append(_conflict(demands[loser].service, claim.frontend, winner))
    ruleset = ir.ruleset({frontend: claim.pool for frontend, claim in won.items()})
    return Translation(snapshot, demands, owners, ruleset, tuple(problems))


def _precedence(claim: Claim, demand: Demand) -> tuple[Rank, datetime, ObjectKey]:
    metadata = demand.service.metadata
    return claim.rank, metadata.creation_timestamp or _EPOCH, metadata.key


def _conflict(service: Service, frontend: Frontend, winner: ObjectKey) -> Problem:
    message = f"{frontend} already belongs to Service {winner}; give one of the two another address or port"
    return Problem(_reference(service), "FrontendConflict", message)


def _demand(facts: Facts) -> Demand:
    service = facts.service
    spec = service.spec
    if spec.type == "ExternalName" or spec.cluster_ip in ("", "None"):
        return Demand(service)
    hosts, problems = _hosts(service)
    claims = [
        Claim(Frontend(address, PROTOCOLS[port.protocol], number), pool, rank)
        for port in spec.ports
        if port.protocol in PROTOCOLS
        for pool in (_pool(facts, port),)
        for address, number, rank in _places(spec.type, port, hosts)
        if ir.usable_port(number)
    ]
    return Demand(service, tuple(claims), problems)


def _places(type: str, port: ServicePort, hosts: Iterable[tuple[str, Rank]]) -> list[tuple[str, int, Rank]]:
    places = [(address, port.port, rank) for address, rank in hosts]
    if type in ("NodePort", "LoadBalancer") and port.node_port:
        places.append((ANY_LOCAL, port.node_port, Rank.NODE_PORT))
    return places


def _hosts(service: Service) -> tuple[list[tuple[str, Rank]], tuple[Problem, ...]]:
    """The addresses a Service answers on, each once, and those that cannot be used."""
    spec = service.spec
    balancers = service.status.load_balancer.ingress if spec.type == "LoadBalancer" else ()
    wanted = [(address, Rank.CLUSTER_IP) for address in spec.cluster_ips or (spec.cluster_ip,)]
    wanted += [(ingress.ip, Rank.LOAD_BALANCER) for ingress in balancers if ingress.ip]
    wanted += [(address, Rank.EXTERNAL_IP) for address in spec.external_ips]
    hosts: dict[str, Rank] = {}
    problems = []
    for text, rank in wanted:
        if address := ir.usable_address(text):
            hosts.setdefault(address, rank)
        elif rank != Rank.LOAD_BALANCER and ":" not in text:
            # No mistakes: IPv6 addresses of a dual-stack Service, and a load balancer on the loopback address.
            message = f"{text!r} is not an IPv4 address that traffic can be sent to; remove it or correct it"
            problems.append(Problem(_reference(service), "InvalidAddress", message))
    return list(hosts.items()), tuple(problems)


def _pool(facts: Facts, port: ServicePort) -> Pool:
    spec = facts.service.spec
    affinity_seconds = 0
    if spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config
        affinity_seconds = config.client_ip.timeout_seconds if config and config.client_ip else _AFFINITY_SECONDS
    return ir.pool(_backends(facts.slices, port), affinity_seconds)


def _backends(slices: Iterable[EndpointSlice], port: ServicePort) -> list[Backend]:
    ready: list[Backend] = []
    leaving: list[Backend] = []
    for part in slices:
        number = _number(part, port)
        if number is None:
            continue
        for endpoint in part.endpoints:
            chosen = ready if endpoint.ready else leaving if endpoint.serving and endpoint.terminating else None
            if chosen is not None and (address := _address(endpoint.addresses)):
                chosen.append(Backend(address, number))
    return ready or leaving


def _number(part: EndpointSlice, port: ServicePort) -> int | None:
    """The port number that a slice has for a port of the Service; they find each other by name and protocol."""
    if part.address_type != "IPv4":
        return None
    numbers = (each.port for each in part.ports if each.name == port.name and each.protocol == port.protocol)
    return next((number for number in numbers if ir.usable_port(number)), None)


def _address(addresses: tuple[str, ...]) -> str:
    """The addresses of one endpoint are interchangeable; like kube-proxy, the first is used."""
    return ir.usable_address(addresses[0]) if addresses else ""


def _reference(service: Service) -> ObjectReference:
    metadata = service.metadata
    return ObjectReference(
        api_version="v1", kind="Service", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid
    )
