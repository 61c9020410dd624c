"""What `nft -j list table` says, read back to a ruleset."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fairway.engine.serviceproxy import ir, render
from fairway.engine.serviceproxy.ir import ANY_LOCAL, Backend, Frontend, Pool, Ruleset

_Object = Mapping[str, Any]


class Table(msgspec.Struct, frozen=True):
    """A table as listed: every chain's rules without handles, and every map's elements as (key, value)."""

    chains: Mapping[str, tuple[str, ...]]
    maps: Mapping[str, tuple[tuple[tuple[Any, ...], Any], ...]]


class Client(msgspec.Struct, frozen=True):
    """One remembered client of a sticky frontend: the index of its backend and how long it is kept."""

    frontend: Frontend
    source: str
    index: int
    expires_seconds: int


def parse(text: bytes | str) -> Table:
    """A listing.  Raises msgspec.DecodeError when it is not JSON."""
    objects: list[_Object] = msgspec.json.decode(text)["nftables"]
    chains: dict[str, list[str]] = {each["chain"]["name"]: [] for each in objects if "chain" in each}
    maps = {}
    for each in objects:
        if "rule" in each:
            rule = each["rule"]
            chains.setdefault(rule["chain"], []).append(msgspec.json.encode(rule["expr"]).decode())
        elif "map" in each:
            maps[each["map"]["name"]] = tuple(_pair(*pair) for pair in each["map"].get("elem", ()))
        elif "set" in each:
            maps[each["set"]["name"]] = tuple((_key(key), None) for key in each["set"].get("elem", ()))
    return Table({name: tuple(rules) for name, rules in chains.items()}, maps)


def damage(table: Table, service_cidr: str) -> str:
    """Why a table cannot be kept and must be replaced; "" when it can."""
    if render.layout(service_cidr) not in table.chains:
        return "another layout"
    for name, statements in render.chains(service_cidr).items():
        expected = sum(1 for statement in statements if not statement.startswith("type "))
        if len(table.chains.get(name, ())) != expected:
            return f"chain {name} was changed"
    missing = [name for name in (*render.map_names(), "hairpin") if name not in table.maps]
    return f"map {missing[0]} is missing" if missing else ""


def ruleset(table: Table) -> Ruleset | None:
    """The ruleset that the maps hold; None when they do not fit together, as after a foreign write."""
    pools: dict[Frontend, Pool] = {}
    for prefix, verdicts, backends in (("", "services", "backends"), ("node-", "node-ports", "node-backends")):
        behind = _backends(table.maps[backends])
        for key, value in table.maps[verdicts]:
            frontend = _frontend(key)
            found = _pool(prefix, value, behind.pop(frontend, {}))
            if found is None:
                return None
            pools[frontend] = found
        if behind:
            return None
    pools |= {_frontend(key): Pool() for key, _ in table.maps["refused"]}
    result = ir.ruleset(pools)
    hairpins = {key[0] for key, _ in table.maps["hairpin"]}
    return result if hairpins == result.uses.keys() else None


def clients(table: Table) -> tuple[Client, ...]:
    """The clients that are being kept on their backends."""
    found = []
    for name in ("affinity", "node-affinity"):
        for (*place, source, expires_seconds), index in table.maps.get(name, ()):
            found.append(Client(_frontend(tuple(place)), source, index, expires_seconds))
    return tuple(found)


def table_names(text: bytes | str) -> frozenset[str]:
    """The names in a listing of tables."""
    objects: list[_Object] = msgspec.json.decode(text)["nftables"]
    return frozenset(each["table"]["name"] for each in objects if "table" in each)


def is_shared(chain: str) -> bool:
    """Whether it is one of the chains that pools of a size share."""
    return bool(_shape(chain.removeprefix("node-"))[0])


def _pair(key: Any, value: Any) -> tuple[tuple[Any, ...], Any]:
    return _key(key), value


def _key(key: Any) -> tuple[Any, ...]:
    """The parts of a concatenated key; those of an element with a timeout end with its remaining seconds."""
    if "elem" in key:
        element = key["elem"]
        return (*element["val"]["concat"], int(element.get("expires", element.get("timeout", 0))))
    return tuple(key["concat"])


def _frontend(key: tuple[Any, ...]) -> Frontend:
    return Frontend(*key) if len(key) == 3 else Frontend(ANY_LOCAL, *key)


def _backends(pairs: Iterable[tuple[tuple[Any, ...], Any]]) -> dict[Frontend, dict[int, Backend]]:
    found: dict[Frontend, dict[int, Backend]] = {}
    for (*place, index), value in pairs:
        found.setdefault(_frontend(tuple(place)), {})[index] = Backend(*value["concat"])
    return found


def _pool(prefix: str, value: _Object, backends: Mapping[int, Backend]) -> Pool | None:
    kind, size, seconds = _shape(value["goto"]["target"].removeprefix(prefix))
    if not kind or size != len(backends) or any(index not in backends for index in range(size)):
        return None
    return Pool(tuple(backends[index] for index in range(size)), seconds)


def _shape(chain: str) -> tuple[str, int, int]:
    """Kind, size and affinity seconds in the name of a shared chain; ("", 0, 0) when it is not one."""
    kind, *numbers = chain.split("-")
    if not all(number.isdigit() for number in numbers):
        return "", 0, 0
    if kind == "spread" and len(numbers) == 1:
        return kind, int(numbers[0]), 0
    if kind == "sticky" and len(numbers) == 2:
        return kind, int(numbers[0]), int(numbers[1])
    return "", 0, 0
