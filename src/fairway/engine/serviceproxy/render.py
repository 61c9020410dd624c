"""Rulesets and changes to nftables scripts: the dense layout.

A few maps hold all Services, and small chains are shared by every pool of the same size, so that neither loading nor a
packet's way grows with the number of Services:

    services    ClusterIP . proto . port                 goto spread-3          (or sticky-3-10800, or refuse)
    spread-3    mark := a number below 3                 goto translate
    translate   … . port . mark → backends               dnat

Only numbers and addresses that were parsed before enter a script, never a name that a user chose.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256

from fairway.engine.serviceproxy.ir import Frontend, Pool, Ruleset
from fairway.engine.serviceproxy.plan import Change, SetHairpin, SetPool

_ELEMENTS_PER_STATEMENT = 2000
_NONE = 0xFFFFFFFF

_MAPS: Mapping[str, str] = {
    "services": "type ipv4_addr . inet_proto . inet_service : verdict",
    "backends": "type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service",
    "node-ports": "type inet_proto . inet_service : verdict",
    "node-backends": "type inet_proto . inet_service . mark : ipv4_addr . inet_service",
    "refused": "type ipv4_addr . inet_proto . inet_service : verdict",
    "affinity": "type ipv4_addr . inet_proto . inet_service . ipv4_addr : mark; "
    "flags timeout, dynamic; timeout 3h; size 65535",
    "node-affinity": "type inet_proto . inet_service . ipv4_addr : mark; "
    "flags timeout, dynamic; timeout 3h; size 65535",
}
_TARGET = "ip daddr . meta l4proto . th dport"
_NODE_TARGET = "meta l4proto . th dport"


def chains(service_cidr: str) -> Mapping[str, tuple[str, ...]]:
    """The chains that are always there: name to statements, the hook first."""
    refuse_rest = f"ip daddr {service_cidr} goto refuse"
    return {
        "refuse": ("meta l4proto tcp reject with tcp reset", "reject"),
        "translate": (f"meta l4proto {{ tcp, udp, sctp }} dnat ip to {_TARGET} . meta mark map @backends",),
        "node-translate": (
            f"meta l4proto {{ tcp, udp, sctp }} dnat ip to {_NODE_TARGET} . meta mark map @node-backends",
        ),
        "dispatch": (f"{_TARGET} vmap @services", f"fib daddr type local {_NODE_TARGET} vmap @node-ports"),
        "nat-prerouting": ("type nat hook prerouting priority dstnat; policy accept;", "jump dispatch"),
        "nat-output": ("type nat hook output priority -100; policy accept;", "jump dispatch"),
        "nat-postrouting": (
            "type nat hook postrouting priority srcnat; policy accept;",
            "ct status dnat ip saddr . ip daddr @hairpin masquerade fully-random",
        ),
        # What still has an address of a Service here was not translated: no endpoints, or not a port of a Service.
        "filter-input": ("type filter hook input priority 0; policy accept;", f"{_TARGET} vmap @refused"),
        "filter-forward": (
            "type filter hook forward priority 0; policy accept;",
            f"{_TARGET} vmap @refused",
            refuse_rest,
        ),
        "filter-output": (
            "type filter hook output priority 0; policy accept;",
            f"{_TARGET} vmap @refused",
            refuse_rest,
        ),
    }


def map_names() -> tuple[str, ...]:
    """The maps of a table."""
    return tuple(_MAPS)


def layout(service_cidr: str) -> str:
    """The name of an empty chain that says which layout a table has; another one is replaced as a whole."""
    shape = repr((_MAPS, chains(service_cidr), _pool_chain("3", 3, 3, ""), _pool_chain("3", 3, 3, "node-")))
    return f"layout-{sha256(shape.encode()).hexdigest()[:12]}"


def pool_chain_name(frontend: Frontend, pool: Pool) -> str:
    """The shared chain for a pool of this size."""
    prefix = "" if frontend.address else "node-"
    if pool.affinity_seconds:
        return f"{prefix}sticky-{len(pool.backends)}-{pool.affinity_seconds}"
    return f"{prefix}spread-{len(pool.backends)}"


def load(table: str, service_cidr: str, wanted: Ruleset) -> str:
    """A script that replaces the whole table in one transaction."""
    name = f"ip {table}"
    parts = [f"table {name} {{}}", f"delete table {name}", f"table {name} {{"]
    parts += [f" map {each} {{ {spec}; }}" for each, spec in _MAPS.items()]
    parts += [" set hairpin { type ipv4_addr . ipv4_addr; }", f" chain {layout(service_cidr)} {{}}"]
    for each, statements in chains(service_cidr).items():
        parts += [f" chain {each} {{", *(f"  {statement}" for statement in statements), " }"]
    parts.append("}")
    return "\n".join(parts) + "\n" + _load_elements(table, wanted)


def _load_elements(table: str, wanted: Ruleset) -> str:
    changes: list[Change] = [SetPool(frontend, None, pool) for frontend, pool in wanted.pools.items()]
    changes += [SetHairpin(address, True) for address in wanted.uses]
    return apply(table, changes, frozenset())


def apply(table: str, changes: Iterable[Change], known_chains: frozenset[str], extra: Iterable[str] = ()) -> str:
    """A script for the changes; shared chains that are not yet known are added, `extra` lines come last."""
    removed: dict[str, list[str]] = {}
    added: dict[str, list[str]] = {}
    shared: dict[str, list[str]] = {}
    for change in changes:
        if isinstance(change, SetHairpin):
            side = added if change.present else removed
            side.setdefault("hairpin", []).append(f"{change.address} . {change.address}")
            continue
        if change.new and change.new.backends:
            name = pool_chain_name(change.frontend, change.new)
            if name not in known_chains and name not in shared:
                shared[name] = _chain_script(table, name, change.frontend, change.new)
        _difference(change, removed, added)
    lines = [line for chain in shared.values() for line in chain]
    lines += _statements("delete", table, removed)
    lines += _statements("add", table, added)
    lines += extra
    return "".join(f"{line}\n" for line in lines)


def chains_of(changes: Iterable[Change]) -> frozenset[str]:
    """The shared chains that the changes need."""
    return frozenset(
        pool_chain_name(change.frontend, change.new)
        for change in changes
        if isinstance(change, SetPool) and change.new and change.new.backends
    )


def elements(frontend: Frontend, pool: Pool | None) -> Mapping[tuple[str, str], str]:
    """(map, key) to value of everything a pool puts into maps."""
    if pool is None:
        return {}
    key = target(frontend)
    if not pool.backends:
        return {("refused", key): "goto refuse"} if frontend.address else {}
    verdicts, backends = ("services", "backends") if frontend.address else ("node-ports", "node-backends")
    found = {(verdicts, key): f"goto {pool_chain_name(frontend, pool)}"}
    for index, backend in enumerate(pool.backends):
        found[backends, f"{key} . {index}"] = f"{backend.address} . {backend.port}"
    return found


def target(frontend: Frontend) -> str:
    """The key of a frontend in the maps."""
    key = f"{frontend.protocol} . {frontend.port}"
    return f"{frontend.address} . {key}" if frontend.address else key


def _difference(change: SetPool, removed: dict[str, list[str]], added: dict[str, list[str]]) -> None:
    before, after = elements(change.frontend, change.old), elements(change.frontend, change.new)
    for (name, key), value in before.items():
        if after.get((name, key)) != value:
            removed.setdefault(name, []).append(key)
    for (name, key), value in after.items():
        if before.get((name, key)) != value:
            added.setdefault(name, []).append(f"{key} : {value}")


def _statements(verb: str, table: str, by_map: Mapping[str, list[str]]) -> Iterator[str]:
    for name, items in by_map.items():
        for start in range(0, len(items), _ELEMENTS_PER_STATEMENT):
            chunk = ", ".join(items[start : start + _ELEMENTS_PER_STATEMENT])
            yield f"{verb} element ip {table} {name} {{ {chunk} }}"


def _chain_script(table: str, name: str, frontend: Frontend, pool: Pool) -> list[str]:
    statements = _pool_chain(name, len(pool.backends), pool.affinity_seconds, "" if frontend.address else "node-")
    return [f"add chain ip {table} {name}", *(f"add rule ip {table} {name} {statement}" for statement in statements)]


def _pool_chain(name: str, size: int, affinity_seconds: int, prefix: str) -> tuple[str, ...]:
    """The rules of a shared chain: choose an index below `size`, or the one this client had, then translate."""
    draw = f"meta mark set numgen random mod {size}"
    go = f"goto {prefix}translate"
    if not affinity_seconds:
        return draw, go
    client = f"{_NODE_TARGET if prefix else _TARGET} . ip saddr"
    return (
        f"meta mark set {_NONE}",
        f"meta mark set {client} map @{prefix}affinity",
        f"meta mark >= {size} {draw}",
        f"update @{prefix}affinity {{ {client} timeout {affinity_seconds}s : meta mark }}",
        go,
    )
