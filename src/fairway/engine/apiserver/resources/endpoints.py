"""Endpoints: the older form of EndpointSlices, one object for each Service."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes, names
from fairway.engine.apiserver.resources.defaulting import fill
from fairway.engine.apiserver.resources.endpointslices import PROTOCOLS
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    keep_nothing,
    name_of,
    nothing,
)
from fairway.engine.apiserver.resources.pod_spec import validate_address

NONE = "<none>"
_SHOWN_MAX = 3


def default(endpoints: Object) -> None:
    """core/v1 SetDefaults_Endpoints."""
    for subset in endpoints.get("subsets") or ():
        for port in subset.get("ports") or ():
            fill(port, "protocol", "TCP")


def validate(new: Object, old: Object | None) -> list[Cause]:
    """core/v1 validation."""
    found: list[Cause] = []
    for index, subset in enumerate(new.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            found.append(causes.required(path, "must specify `addresses` or `notReadyAddresses`"))
        for key in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(subset.get(key) or ()):
                found += validate_address(address.get("ip") or "", f"{path}.{key}[{number}].ip")
        found += _ports(subset.get("ports") or (), f"{path}.ports")
    return found


def row(endpoints: Object, now: datetime) -> list[object]:
    """One cell per column."""
    return [name_of(endpoints), _addresses(endpoints), age_of(endpoints, now)]


def _addresses(endpoints: Object) -> str:
    pairs = [pair for subset in endpoints.get("subsets") or () for pair in _pairs(subset)]
    if not pairs:
        return NONE
    shown = ",".join(pairs[:_SHOWN_MAX])
    return shown if len(pairs) <= _SHOWN_MAX else f"{shown} + {len(pairs) - _SHOWN_MAX} more..."


def _pairs(subset: Object) -> list[str]:
    addresses = [_bracketed(address.get("ip") or "") for address in subset.get("addresses") or ()]
    ports = [port.get("port") for port in subset.get("ports") or ()]
    if not ports:
        return addresses
    return [f"{address}:{port}" for port in ports for address in addresses]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _ports(ports: list[Object] | tuple[()], field: str) -> list[Cause]:
    found: list[Cause] = []
    for index, port in enumerate(ports):
        path, name = f"{field}[{index}]", port.get("name") or ""
        if name:
            found += causes.invalid_each(f"{path}.name", name, names.dns_label(name))
        elif len(ports) > 1:
            found.append(causes.required(f"{path}.name"))
        found += causes.invalid_each(f"{path}.port", port.get("port"), names.port_number(port.get("port") or 0))
        found += causes.one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)
    return found


ENDPOINTS = Kind(
    group="",
    version="v1",
    kind="Endpoints",
    plural="endpoints",
    singular="endpoints",
    namespaced=True,
    list_kind="EndpointsList",
    create_on_update=True,
    short_names=("ep",),
    columns=(NAME, Column("Endpoints", "string", "The addresses and ports of all subsets."), AGE),
    row=row,
    default=default,
    prepare_create=nothing,
    prepare_update=keep_nothing,
    validate=validate,
)
