"""Routes with conditions: each distinct list of things to look at is a few rules, their values are in maps."""

from collections.abc import Iterable

from fairway.edge.ir import Condition, Route, Source

_FETCHES = {
    Source.HEADER: "req.fhdr({})",
    Source.METHOD: "method",
    Source.QUERY: "url_param({})",
    Source.COOKIE: "req.cook({})",
    Source.LANGUAGE: "req.hdr(Accept-Language,1),word(1,;),word(1,-),lower",
}


def signature(conditions: tuple[Condition, ...]) -> str:
    """What is looked at, without what it is compared with."""
    return ",".join(f"{one.source.value}:{one.name}" for one in conditions)


def rules(routes: Iterable[Route], condition_map: str, otherwise_map: str, match_map: str) -> tuple[str, ...]:
    """As many rounds as any place has routes with conditions; none at all when nobody has."""
    places: dict[object, int] = {}
    signatures: dict[str, tuple[Condition, ...]] = {}
    for route in routes:
        if conditions := route.match.conditions:
            place = (route.match.host, route.match.key, route.match.kind)
            places[place] = places.get(place, 0) + 1
            signatures[signature(conditions)] = conditions
    if not places:
        return ()
    lines = [
        "acl asked var(txn.condition) -m len gt 0",
        "acl met var(txn.met) -m found",
        "http-request set-var(txn.condition) var(txn.route),bytes(1) if { var(txn.route) -m beg @ }",
        f"http-request set-var(txn.route) var(txn.condition),map_str({otherwise_map}) if asked",
    ]
    for _ in range(max(places.values())):
        lines.append(f"http-request set-var(txn.looked) var(txn.condition),map_str({condition_map}) if asked !met")
        for name in sorted(signatures):
            lines += _look(name, signatures[name])
        lines += [
            "http-request set-var(txn.seen) var(txn.condition),concat(=,txn.values) if asked !met",
            f"http-request set-var(txn.met) var(txn.seen),map_regm({match_map}) if asked !met",
            "http-request set-var(txn.condition) var(txn.looked),field(2,|) if asked !met",
        ]
    return (*lines, "http-request set-var(txn.route) var(txn.met) if met")


def _look(name: str, conditions: tuple[Condition, ...]) -> list[str]:
    this = f"if asked !met {{ var(txn.looked),field(1,|) -m str {name} }}"
    lines = [f"http-request set-var(txn.values) str() {this}"]
    for one in conditions:
        fetch = _FETCHES[one.source].format(one.name)
        lines += [
            f"http-request unset-var(txn.value) {this}",
            f"http-request set-var(txn.value) {fetch} {this}",
            f"http-request set-var(txn.values) var(txn.values),concat(,txn.value,;) {this}",
        ]
    return lines
