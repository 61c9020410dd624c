"""IPAddresses and ServiceCIDRs: rules of networking.k8s.io/v1."""

from ipaddress import ip_address, ip_network

from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.kind import Cause, Object

_CIDRS_MAX = 2


def address_name(name: str) -> list[str]:
    """An IPAddress is named by the address in its shortest form."""
    try:
        parsed = ip_address(name)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return [] if str(parsed) == name else [f'must be in canonical form ("{parsed}")']


def validate_address(new: Object, old: Object | None) -> list[Cause]:
    """Whose address it is never changes."""
    parent = (new.get("spec") or {}).get("parentRef")
    if parent is None:
        found = [causes.required("spec.parentRef")]
    else:
        found = [causes.required(f"spec.parentRef.{key}") for key in ("resource", "name") if not parent.get(key)]
    if old is not None:
        found += causes.immutable("spec.parentRef", parent, (old.get("spec") or {}).get("parentRef"))
    return found


def validate_cidrs(new: Object, old: Object | None) -> list[Cause]:
    """One network, or one of each family; they never change."""
    cidrs = (new.get("spec") or {}).get("cidrs") or []
    if old is not None:
        return causes.immutable("spec.cidrs", cidrs, (old.get("spec") or {}).get("cidrs") or [])
    if not cidrs:
        return [causes.required("spec.cidrs", "at least one CIDR required")]
    if len(cidrs) > _CIDRS_MAX:
        return [causes.invalid("spec", new.get("spec"), "may only hold up to 2 values")]
    found: list[Cause] = []
    for index, cidr in enumerate(cidrs):
        found += _cidr(cidr, f"spec.cidrs[{index}]")
    if not found and len({ip_network(cidr).version for cidr in cidrs}) < len(cidrs):
        says = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        found.append(causes.invalid("spec", new.get("spec"), says))
    return found


def _cidr(cidr: str, field: str) -> list[Cause]:
    valid = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    try:
        network = ip_network(cidr, strict=False)
    except ValueError:
        return [causes.invalid(field, cidr, valid)]
    if "/" not in cidr:
        return [causes.invalid(field, cidr, valid)]
    return [] if str(network) == cidr else [causes.invalid(field, cidr, f'must be in canonical form ("{network}")')]
