"""What `nft -j list table` says, read back to what is in force."""

from collections.abc import Mapping
from typing import Any

import msgspec

from fairway.engine.serviceproxy.policies import render
from fairway.engine.serviceproxy.policies.ir import SELF, Direction, InForce, Isolation

_Object = Mapping[str, Any]


class Table(msgspec.Struct, frozen=True):
    """A table as listed: every chain's rules without handles, every set's and every map's elements."""

    chains: Mapping[str, tuple[str, ...]]
    sets: Mapping[str, frozenset[str]]
    maps: Mapping[str, Mapping[str, str]]


def parse(text: bytes | str) -> Table:
    """A listing.  Raises msgspec.DecodeError when it is not JSON."""
    objects: list[_Object] = msgspec.json.decode(text)["nftables"]
    chains: dict[str, list[str]] = {each["chain"]["name"]: [] for each in objects if "chain" in each}
    sets, maps = {}, {}
    for each in objects:
        if "rule" in each:
            rule = each["rule"]
            chains.setdefault(rule["chain"], []).append(msgspec.json.encode(rule["expr"]).decode())
        elif "set" in each:
            sets[each["set"]["name"]] = frozenset(_element(item) for item in each["set"].get("elem", ()))
        elif "map" in each:
            maps[each["map"]["name"]] = {str(key): _target(value) for key, value in each["map"].get("elem", ())}
    return Table({name: tuple(rules) for name, rules in chains.items()}, sets, maps)


def damage(table: Table, name_server: str) -> str:
    """Why a table cannot be kept and must be replaced; "" when it can."""
    if render.layout(name_server) not in table.chains:
        return "another layout"
    for name, statements in render.base_chains().items():
        if len(table.chains.get(name, ())) != len(statements) - 1:
            return f"chain {name} was changed"
    missing = [name for name in Direction if name not in table.maps]
    return f"map {missing[0]} is missing" if missing else "" if SELF in table.sets else f"set {SELF} is missing"


def in_force(table: Table, name_server: str) -> InForce:
    """What the table does, by the names of its chains."""
    always = {render.layout(name_server), *render.base_chains()}
    isolated = {
        Isolation(direction, address): chain
        for direction in Direction
        for address, chain in table.maps[direction].items()
    }
    return InForce(frozenset(table.chains.keys() - always), table.sets, isolated)


def _element(item: Any) -> str:
    return " . ".join(map(str, item["concat"])) if isinstance(item, dict) else str(item)


def _target(value: _Object) -> str:
    """The chain behind a verdict; "" for any other verdict, which then is none of ours."""
    return str((value.get("goto") or {}).get("target", ""))
