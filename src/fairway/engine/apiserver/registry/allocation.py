"""Cluster addresses and node ports for Services, taken together with the write that needs them."""

import ipaddress
import random
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from fairway.engine.apiserver.resources import Cause
from fairway.engine.apiserver.store import DELETED, Entry, Event, Store
from fairway.engine.apiserver.store.entries import Object

RESOURCE = "services"
NODE_PORTS = range(30000, 32768)
_HEADLESS = "None"
_EXTERNAL_NAME = "ExternalName"
_OUTSIDE = ("NodePort", "LoadBalancer")

Claim = str | int
"""An address or a port number."""


class ServiceAllocator:
    """Knows what is taken. All decisions happen in the event loop, so two writes never get the same thing.

    `random_source` spreads addresses, so that a deleted Service's address is not reused at once.
    """

    def __init__(self, store: Store, network: IPv4Network, random_source: random.Random | None = None) -> None:
        self._store = store
        self._network = network
        self._random = random_source or random.Random()
        self._owners: dict[Claim, tuple[str, str]] = {}
        for entry in store.select(RESOURCE):
            self._take(_place(entry), _claims(entry.object()))
        store.subscribe(RESOURCE, self._follow)

    def allocate(self, new: Object, old: Object | None) -> tuple[list[Claim], list[Cause]]:
        """Fill in what the Service needs. Gives what was newly taken (to `release` when the write fails) and causes."""
        metadata, spec = new["metadata"], new.setdefault("spec", {})
        place = (metadata.get("namespace") or "", metadata.get("name") or "")
        taken: list[Claim] = []
        causes = self._address(place, spec, taken) + self._ports(place, spec, taken)
        if causes:
            self.release(taken)
            taken = []
        return taken, causes

    def release(self, claims: Iterable[Claim]) -> None:
        """Give back."""
        for claim in claims:
            self._owners.pop(claim, None)

    def _address(self, place: tuple[str, str], spec: Object, taken: list[Claim]) -> list[Cause]:
        if spec.get("type") == _EXTERNAL_NAME or spec.get("clusterIP") == _HEADLESS:
            return []
        wanted = spec.get("clusterIP")
        if not wanted:
            address = self._free_address()
            if address is None:
                return [_failed("spec.clusterIPs[0]", "failed to allocate IP: range is full")]
            spec["clusterIP"], spec["clusterIPs"] = address, [address]
        elif cause := self._refused_address(place, str(wanted)):
            return [cause]
        if spec["clusterIP"] not in self._owners:
            self._owners[spec["clusterIP"]] = place
            taken.append(spec["clusterIP"])
        return []

    def _refused_address(self, place: tuple[str, str], wanted: str) -> Cause | None:
        field = "spec.clusterIPs"
        try:
            inside = IPv4Address(wanted) in self._network
        except ipaddress.AddressValueError:
            return None  # validation says what is wrong with it
        if not inside:
            why = f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {self._network}"
            return _invalid(field, f'["{wanted}"]', f"failed to allocate IP {wanted}: {why}")
        if self._owners.get(wanted, place) != place:
            return _invalid(field, f'["{wanted}"]', f"failed to allocate IP {wanted}: provided IP is already allocated")
        return None

    def _free_address(self) -> str | None:
        """A random free address; the lower part is left to those who ask for a certain one (KEP-3070)."""
        size = self._network.num_addresses
        reserved = min(max(16, size // 16), 256) if size > 32 else 1
        for _ in range(32):
            found = str(self._network[self._random.randrange(reserved, size - 1)])
            if found not in self._owners:
                return found
        everything = (str(address) for address in self._network.hosts())
        return next((address for address in everything if address not in self._owners), None)

    def _ports(self, place: tuple[str, str], spec: Object, taken: list[Claim]) -> list[Cause]:
        if spec.get("type") not in _OUTSIDE:
            return []
        if spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
            return []
        causes: list[Cause] = []
        own = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
        for index, port in enumerate(spec.get("ports") or ()):
            causes += self._port(place, port, f"spec.ports[{index}].nodePort", own, taken)
        return causes

    def _port(self, place: tuple[str, str], port: Object, field: str, own: set[int], taken: list[Claim]) -> list[Cause]:
        wanted = port.get("nodePort") or self._free_port(own)
        if wanted is None:
            return [_failed(field, "failed to allocate a nodePort: range is full")]
        if wanted not in NODE_PORTS:
            why = f"provided port is not in the valid range. The range of valid ports is {_range_text()}"
            return [_invalid(field, str(wanted), why)]
        if self._owners.get(wanted, place) != place:
            return [_invalid(field, str(wanted), "provided port is already allocated")]
        port["nodePort"] = wanted
        own.add(wanted)
        if wanted not in self._owners:
            self._owners[wanted] = place
            taken.append(wanted)
        return []

    def _free_port(self, own: set[int]) -> int | None:
        for _ in range(32):
            found = self._random.choice(NODE_PORTS)
            if found not in self._owners and found not in own:
                return found
        return next((port for port in NODE_PORTS if port not in self._owners and port not in own), None)

    def _follow(self, event: Event) -> None:
        """Give back what a Service no longer has."""
        if event.previous is None:
            return
        place = _place(event.entry)
        kept = set() if event.type == DELETED else _claims(event.entry.object())
        latest = self._store.latest(event.key)
        if latest is not None and latest is not event.entry:
            kept |= _claims(latest.object())  # a newer write is on its way
        gone = _claims(event.previous.object()) - kept
        self.release(claim for claim in gone if self._owners.get(claim) == place)

    def _take(self, place: tuple[str, str], claims: Iterable[Claim]) -> None:
        for claim in claims:
            self._owners.setdefault(claim, place)


def _place(entry: Entry) -> tuple[str, str]:
    return entry.key.namespace, entry.key.name


def _claims(service: Object) -> set[Claim]:
    spec = service.get("spec") or {}
    addresses = {address for address in (spec.get("clusterIP"), *(spec.get("clusterIPs") or ())) if address}
    ports = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
    return (addresses - {_HEADLESS}) | ports


def _range_text() -> str:
    return f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"


def _invalid(field: str, value: str, why: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {value}: {why}", field)


def _failed(field: str, why: str) -> Cause:
    return Cause("InternalError", f"Internal error: {why}", field)
