"""Rulesets and changes to nftables scripts: the dense layout.

A packet of a known connection passes one rule, the first of a new one to a pod without policies one map lookup:

    egress      address of the sender     goto only-…
    ingress     address of the receiver   goto only-…
    only-…      jump to the rules of each of the pod's policies, then drop; shared by all pods with the same policies
    rules-…     accept what one policy allows; shared by all equal policies
    pods-…      addresses of the pods that a peer selects; port-… where pods have a port of that name

Only numbers, addresses and digests enter a script, never a name that a user chose.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256

from fairway.engine.serviceproxy.policies.ir import (
    SELF,
    Allow,
    Block,
    Direction,
    Either,
    Group,
    InForce,
    Named,
    NameServer,
    Numbers,
    Rules,
    Ruleset,
)
from fairway.engine.serviceproxy.policies.plan import AddChain, Change, NoChange, RemoveChain, SetGroup, plan

_ELEMENTS_PER_STATEMENT = 2000
_POD_LINKS = '"v*"'
_KNOWN = "ct state established,related accept"

_MAP = "type ipv4_addr : verdict"
_GROUPS: Mapping[str, str] = {
    "pods": "type ipv4_addr",
    "port": "type ipv4_addr . inet_proto . inet_service",
    SELF: "type ipv4_addr . ipv4_addr",
}
_PEER: Mapping[Direction, str] = {Direction.INGRESS: "ip saddr", Direction.EGRESS: "ip daddr"}

_BASE: Mapping[str, tuple[str, ...]] = {
    # A pod's address is who it is: nobody sends in the name of another, nor around all this by link-local IPv6.
    "genuine": (
        "type filter hook prerouting priority raw; policy accept;",
        f"iifname {_POD_LINKS} meta nfproto ipv6 drop",
        f"iifname {_POD_LINKS} fib saddr . iif oif missing drop",
    ),
    # Behind the translation of Services: what is looked at is the pod that a connection really goes to.
    "egress-forward": ("type filter hook forward priority 10; policy accept;", _KNOWN, "ip saddr vmap @egress"),
    "egress-input": ("type filter hook input priority 10; policy accept;", _KNOWN, "ip saddr vmap @egress"),
    # A hook of its own: what egress accepts goes on to ingress.  The node's own packets pass neither.
    "ingress-forward": ("type filter hook forward priority 11; policy accept;", _KNOWN, "ip daddr vmap @ingress"),
}


def base_chains() -> Mapping[str, tuple[str, ...]]:
    """The chains that are always there: name to statements, the hook first."""
    return _BASE


def layout(name_server: str) -> str:
    """The name of an empty chain that says which layout a table has; another one is replaced as a whole."""
    every = (
        Allow(Group("pods-"), Numbers("tcp", ((1, 2),))),
        Allow(Block("10.0.0.0/8", ("10.1.0.0/16",)), Named("port-")),
    )
    shape = repr(
        (_BASE, _MAP, _GROUPS, _either(("a",)), [_statement(Direction.EGRESS, each, "") for each in every], name_server)
    )
    return f"layout-{sha256(shape.encode()).hexdigest()[:12]}"


def load(table: str, name_server: str, ruleset: Ruleset) -> str:
    """A script that replaces the whole table in one transaction."""
    parts = [f"table inet {table} {{}}", f"delete table inet {table}", f"table inet {table} {{"]
    parts += [f" map {direction} {{ {_MAP}; }}" for direction in Direction]
    parts += [f" set {SELF} {{ {_GROUPS[SELF]}; }}", f" chain {layout(name_server)} {{}}"]
    for name, statements in _BASE.items():
        parts += [f" chain {name} {{", *(f"  {statement}" for statement in statements), " }"]
    parts.append("}")
    changes = plan(InForce(), ruleset)
    return "\n".join(parts) + "\n" + ("" if isinstance(changes, NoChange) else apply(table, name_server, changes))


def apply(table: str, name_server: str, changes: Iterable[Change]) -> str:
    """A script for the changes."""
    before: list[str] = []
    after: list[str] = []
    elements: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        match change:
            case SetGroup(name, old, new):
                _group(table, name, old, new, before, after, elements)
            case AddChain(name, chain):
                before.append(f"add chain inet {table} {name}")
                before += [f"add rule inet {table} {name} {each}" for each in statements(chain, name_server)]
            case RemoveChain(name):
                after += [f"flush chain inet {table} {name}", f"delete chain inet {table} {name}"]
            case _:
                place = change.isolation.direction
                if change.old:
                    elements.setdefault(("delete", place), []).append(change.isolation.address)
                if change.new:
                    text = f"{change.isolation.address} : goto {change.new}"
                    elements.setdefault(("add", place), []).append(text)
    # All that goes before all that comes, so that an address may get another chain; sets are made before chains.
    order = sorted(elements, key=lambda each: each[0] == "add")
    moves = [line for key in order for line in _elements(table, *key, elements[key])]
    made = [line for line in before if line.startswith("add set")]
    chains = [line for line in before if not line.startswith("add set")]
    return "".join(f"{line}\n" for line in (*made, *chains, *moves, *after))


def _group(
    table: str,
    name: str,
    old: frozenset[str] | None,
    new: frozenset[str] | None,
    before: list[str],
    after: list[str],
    elements: dict[tuple[str, str], list[str]],
) -> None:
    if new is None:
        after.append(f"delete set inet {table} {name}")
        return
    if old is None:
        before.append(f"add set inet {table} {name} {{ {_GROUPS[name.split('-')[0]]}; }}")
    gone, come = sorted((old or frozenset()) - new), sorted(new - (old or frozenset()))
    if gone:
        elements["delete", name] = gone
    if come:
        elements["add", name] = come


def _elements(table: str, verb: str, name: str, items: list[str]) -> Iterator[str]:
    for start in range(0, len(items), _ELEMENTS_PER_STATEMENT):
        chunk = ", ".join(items[start : start + _ELEMENTS_PER_STATEMENT])
        yield f"{verb} element inet {table} {name} {{ {chunk} }}"


def statements(chain: Rules | Either, name_server: str) -> tuple[str, ...]:
    """The rules of a chain."""
    if isinstance(chain, Either):
        return _either(chain.rules)
    return tuple(_statement(chain.direction, allow, name_server) for allow in chain.allows)


def _either(rules: tuple[str, ...]) -> tuple[str, ...]:
    return (f"ip saddr . ip daddr @{SELF} accept", *(f"jump {name}" for name in rules), "drop")


def _statement(direction: Direction, allow: Allow, name_server: str) -> str:
    return " ".join((*_peer(_PEER[direction], allow, name_server), *_ports(allow), "accept"))


def _peer(field: str, allow: Allow, name_server: str) -> tuple[str, ...]:
    match allow.peer:
        case None:
            return ()
        case Group(name):
            return (f"{field} @{name}",)
        case Block(cidr, holes):
            return (f"{field} {cidr}", *((f"{field} != {{ {', '.join(holes)} }}",) if holes else ()))
        case NameServer(protocols):
            return (f"{field} {name_server}", f"meta l4proto {{ {', '.join(protocols)} }}", "th dport 53")


def _ports(allow: Allow) -> tuple[str, ...]:
    match allow.ports:
        case None:
            return ()
        case Named(group):
            return (f"ip daddr . meta l4proto . th dport @{group}",)
        case Numbers(protocol, ranges):
            if not ranges:
                return (f"meta l4proto {protocol}",)
            texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
            return (f"{protocol} dport {{ {', '.join(texts)} }}" if len(texts) > 1 else f"{protocol} dport {texts[0]}",)
