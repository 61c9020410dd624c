"""EndpointSlices: the addresses behind a Service."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes, names
from fairway.engine.apiserver.resources.defaulting import fill
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
from fairway.engine.apiserver.resources.pod_spec import validate_address

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
PROTOCOLS = ("SCTP", "TCP", "UDP")
ENDPOINTS_MAX, PORTS_MAX, ADDRESSES_MAX = 1000, 20000, 100
UNSET = "<unset>"
_SHOWN_MAX = 3

COLUMNS = (
    NAME,
    Column("AddressType", "string", "The type of address carried by this slice."),
    Column("Ports", "string", "The network ports exposed by each endpoint in this slice."),
    Column("Endpoints", "string", "The endpoints in this slice."),
    AGE,
)


def default(piece: Object) -> None:
    """discovery/v1 SetDefaults_EndpointPort."""
    for port in piece.get("ports") or ():
        if port.get("name") is None:
            port["name"] = ""
        fill(port, "protocol", "TCP")


def validate(new: Object, old: Object | None) -> list[Cause]:
    """discovery validation; the address type never changes."""
    kind = new.get("addressType")
    found = causes.one_of("addressType", kind, ADDRESS_TYPES)
    endpoints, ports = new.get("endpoints") or (), new.get("ports") or ()
    if len(endpoints) > ENDPOINTS_MAX:
        return [*found, causes.too_many("endpoints", len(endpoints), ENDPOINTS_MAX)]
    for index, endpoint in enumerate(endpoints):
        found += _endpoint(endpoint, kind, f"endpoints[{index}]")
    if len(ports) > PORTS_MAX:
        return [*found, causes.too_many("ports", len(ports), PORTS_MAX)]
    found += _ports(ports)
    return found if old is None else found + causes.immutable("addressType", kind, old.get("addressType"))


def row(piece: Object, now: datetime) -> list[object]:
    """One cell per column."""
    ports = [UNSET if port.get("port") is None else str(port["port"]) for port in piece.get("ports") or ()]
    addresses = [address for endpoint in piece.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return [name_of(piece), piece.get("addressType"), _few(ports), _few(addresses), age_of(piece, now)]


def _few(items: list[str]) -> str:
    if not items:
        return UNSET
    shown = ",".join(items[:_SHOWN_MAX])
    return shown if len(items) <= _SHOWN_MAX else f"{shown} + {len(items) - _SHOWN_MAX} more..."


def _endpoint(endpoint: Object, kind: str | None, path: str) -> list[Cause]:
    addresses = endpoint.get("addresses") or ()
    found: list[Cause] = []
    if not addresses:
        found.append(causes.required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(addresses) > ADDRESSES_MAX:
        found.append(causes.too_many(f"{path}.addresses", len(addresses), ADDRESSES_MAX))
    for index, address in enumerate(addresses):
        found += _address(address, kind, f"{path}.addresses[{index}]")
    for key, rule in (("hostname", names.dns_label), ("nodeName", names.dns_subdomain)):
        if endpoint.get(key):
            found += causes.invalid_each(f"{path}.{key}", endpoint[key], rule(endpoint[key]))
    return found


def _address(address: str, kind: str | None, field: str) -> list[Cause]:
    if kind == "FQDN":
        return causes.invalid_each(field, address, names.dns_subdomain(address))
    found = validate_address(address, field)
    if not found and (":" in address) != (kind == "IPv6"):
        return [causes.invalid(field, address, f"must be an {kind} address")]
    return found


def _ports(ports: list[Object] | tuple[()]) -> list[Cause]:
    found: list[Cause] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"ports[{index}]", port.get("name") or ""
        found += causes.invalid_each(f"{path}.name", name, names.dns_label(name)) if name else []
        if name in seen:
            found.append(causes.duplicate(f"{path}.name", name))
        seen.add(name)
        found += causes.one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)
    return found


ENDPOINT_SLICES = Kind(
    group="discovery.k8s.io",
    version="v1",
    kind="EndpointSlice",
    plural="endpointslices",
    singular="endpointslice",
    namespaced=True,
    list_kind="EndpointSliceList",
    columns=COLUMNS,
    row=row,
    default=default,
    prepare_create=generation_only,
    prepare_update=count_generation,
    validate=validate,
)
