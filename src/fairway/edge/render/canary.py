"""How a canary is chosen: by header, then cookie, then the cookie that keeps a client, then by lot.

Weights, values and backends are in a map; only a header or cookie name that nobody used before, or more canaries on one
route than any had before, are new rules. An entry is
`LOW|HIGH|BACKEND|HEADER|VALUE|COOKIE|STICKY|STICKY OF MAIN|NEXT`; with several canaries each holds a range of the lots.
"""

from fairway.edge.ir import Canary
from fairway.edge.render.rendered import CANARY_MAP

_PICK = "http-request set-var(txn.pick) str({})"


def canary_rules(routes: tuple[tuple[Canary, ...], ...], pattern_map: str) -> tuple[str, ...]:
    """`routes`: the canaries of each route that has any."""
    found = [canary for canaries in routes for canary in canaries]
    rounds = max((len(canaries) for canaries in routes), default=1)
    headers = sorted({canary.header for canary in found if canary.header})
    patterns = {canary.header for canary in found if canary.header_pattern}
    cookies = sorted({canary.cookie for canary in found if canary.cookie})
    sticky = sorted({canary.sticky for canary in found if canary.sticky[0]})
    asked = [rule for name in headers for rule in _by_header(name, pattern_map if name in patterns else "")]
    asked += [rule for name in cookies for rule in _by_cookie(name)]
    return (
        "http-request set-var(txn.first) var(txn.route),field(3,|) if { var(txn.flags) -m sub c }",
        "acl canary var(txn.first) -m found",
        "acl more var(txn.key) -m len gt 0",
        "acl picked var(txn.pick) -m found",
        *(_loop(tuple(asked), rounds) if asked else ()),
        *(_loop(tuple(rule for names in sticky for rule in _by_affinity(*names)), rounds) if sticky else ()),
        *(_PICK.format("no") + f" if canary !picked {_is(8, main)} {{ req.cook({main}) -m found }}"
          for main in sorted({names[1] for names in sticky})),
        "http-request set-var(txn.lot) rand(1000000) if canary !picked",
        *_loop(_by_lot(), rounds),
        "http-request set-var(txn.backend) var(txn.canary),field(3,|) if canary { var(txn.pick) -m str yes }",
    )  # fmt: skip


def _loop(rules: tuple[str, ...], rounds: int) -> tuple[str, ...]:
    """The same rules for every canary of the route, until one is picked."""
    lines = ["http-request set-var(txn.key) var(txn.first) if canary !picked"]
    for number in range(rounds):
        lines.append(f"http-request set-var(txn.canary) var(txn.key),map_str({CANARY_MAP}) if canary more !picked")
        lines += [rule.replace("NEVER", f"never{number}") for rule in rules]
        lines.append("http-request set-var(txn.key) var(txn.canary),field(9,|) if canary more !picked")
    return tuple(lines)


def _is(field: int, name: str) -> str:
    return f"{{ var(txn.canary),field({field},|) -m str {name} }}"


def _by_header(name: str, pattern_map: str) -> tuple[str, ...]:
    this = f"if canary more !picked {_is(4, name)}"
    plain = "!{ var(txn.value) -m len gt 0 }"
    lines: tuple[str, ...] = (
        "http-request set-var(txn.value) var(txn.canary),field(5,|) if canary more !picked",
        f"{_PICK.format('yes')} {this} {{ var(txn.value) -m len gt 0 }} "
        f"{{ req.hdr({name}),strcmp(txn.value) -m int 0 }}",
        f"{_PICK.format('yes')} {this} {plain} {{ req.hdr({name}) -m str always }}",
        f"http-request set-var(txn.NEVER) bool(true) {this} {plain} {{ req.hdr({name}) -m str never }}",
    )
    if pattern_map:
        marked = "{ var(txn.value) -m str ~ }"
        lines += (
            f"http-request set-var(txn.value) req.fhdr({name}) {this} {marked} {{ req.fhdr({name}) -m found }}",
            f"{_PICK.format('yes')} {this} {{ var(txn.key),concat(=,txn.value),map_reg({pattern_map}) -m found }}",
        )
    return lines


def _by_cookie(name: str) -> tuple[str, ...]:
    this = f"if canary more !picked {_is(6, name)}"
    return (
        f"{_PICK.format('yes')} {this} !{{ var(txn.NEVER) -m bool }} {{ req.cook({name}) -m str always }}",
        f"http-request set-var(txn.NEVER) bool(true) {this} {{ req.cook({name}) -m str never }}",
    )


def _by_affinity(name: str, main: str) -> tuple[str, ...]:
    never = "!{ var(txn.NEVER) -m bool }"
    return (f"{_PICK.format('yes')} if canary more !picked {_is(7, name)} {never} {{ req.cook({name}) -m found }}",)


def _by_lot() -> tuple[str, ...]:
    never = "!{ var(txn.NEVER) -m bool }"
    return (
        "http-request set-var(txn.low) var(txn.canary),field(1,|) if canary more !picked",
        "http-request set-var(txn.high) var(txn.canary),field(2,|) if canary more !picked",
        f"{_PICK.format('yes')} if canary more !picked {never} {{ var(txn.lot),sub(txn.low) -m int ge 0 }} "
        "{ var(txn.lot),sub(txn.high) -m int lt 0 }",
    )
