"""RBAC rules: what one allows, whether some cover others, and how they are shown. Pure.

Follows the documentation of rbac.authorization.k8s.io/v1.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

EVERY = "*"


class Rule(msgspec.Struct, frozen=True):
    """A PolicyRule: verbs on resources (of all names, when none is named), or on URLs."""

    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    def speaks_of(self, verb: str, group: str, resource: str, subresource: str) -> bool:
        """Whether the rule allows this for at least one name."""
        if not (EVERY in self.verbs or verb in self.verbs):
            return False
        if not (EVERY in self.groups or group in self.groups):
            return False
        combined = f"{resource}/{subresource}" if subresource else resource
        if EVERY in self.resources or combined in self.resources:
            return True
        return bool(subresource) and f"{EVERY}/{subresource}" in self.resources

    def allows_url(self, verb: str, path: str) -> bool:
        return (EVERY in self.verbs or verb in self.verbs) and any(_url_covers(url, path) for url in self.urls)

    def raw(self) -> dict[str, list[str]]:
        """As rbac/v1 PolicyRule; fields without a value are left out."""
        shown = {
            "verbs": self.verbs,
            "apiGroups": self.groups,
            "resources": self.resources,
            "resourceNames": self.names,
            "nonResourceURLs": self.urls,
        }
        return {key: list(values) for key, values in shown.items() if values or key == "verbs"}


EVERYTHING = (Rule((EVERY,), (EVERY,), (EVERY,)), Rule((EVERY,), urls=(EVERY,)))


def from_raw(rules: Iterable[Mapping[str, Any]] | None) -> tuple[Rule, ...]:
    """Rules of a (Cluster)Role."""
    keys = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
    return tuple(Rule(*(tuple(rule.get(key) or ()) for key in keys)) for rule in rules or ())


def missing(owned: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """What of `wanted` is not covered by `owned`, in the smallest pieces."""
    return [piece for rule in wanted for piece in _pieces(rule) if not any(_covers(mine, piece) for mine in owned)]


def compact(rules: Iterable[Rule]) -> list[Rule]:
    """Pieces on the same resource (and name) as one rule."""
    merged: dict[tuple[object, ...], Rule] = {}
    for rule in rules:
        key = (rule.groups, rule.resources, rule.names, rule.urls)
        known = merged.get(key)
        verbs = tuple(dict.fromkeys((*known.verbs, *rule.verbs))) if known and not rule.urls else rule.verbs
        merged[(*key, rule.verbs) if rule.urls else key] = msgspec.structs.replace(rule, verbs=verbs)
    return list(merged.values())


def text(rule: Rule) -> str:
    """One rule in upstream's short form: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`."""
    shown = (
        ("APIGroups", rule.groups),
        ("Resources", rule.resources),
        ("NonResourceURLs", rule.urls),
        ("ResourceNames", rule.names),
        ("Verbs", rule.verbs),
    )
    return "{" + ", ".join(f"{name}:{quoted(values)}" for name, values in shown if values) + "}"


def quoted(values: Iterable[str]) -> str:
    """A list as Go's %q prints it."""
    return "[" + " ".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values) + "]"


def _pieces(rule: Rule) -> Iterator[Rule]:
    """The same permissions, each with one verb, group, resource and name, or verb and URL."""
    for group in rule.groups:
        for resource in rule.resources:
            for verb in rule.verbs:
                for name in rule.names or (None,):
                    yield Rule((verb,), (group,), (resource,), (name,) if name is not None else ())
    for url in rule.urls:
        for verb in rule.verbs:
            yield Rule((verb,), urls=(url,))


def _covers(owner: Rule, piece: Rule) -> bool:
    if not (EVERY in owner.verbs or piece.verbs[0] in owner.verbs):
        return False
    if piece.urls:
        return any(_url_covers(url, piece.urls[0]) for url in owner.urls)
    if not (EVERY in owner.groups or piece.groups[0] in owner.groups):
        return False
    if not _resource_covers(owner.resources, piece.resources[0]):
        return False
    return not owner.names or (bool(piece.names) and piece.names[0] in owner.names)


def _resource_covers(owned: Sequence[str], wanted: str) -> bool:
    if EVERY in owned or wanted in owned:
        return True
    _, separator, subresource = wanted.partition("/")
    return bool(separator) and f"{EVERY}/{subresource}" in owned


def _url_covers(owned: str, path: str) -> bool:
    """`*` and a trailing `*` are wildcards; `/x*` also covers the wildcard `/x/*`."""
    if owned in (EVERY, path):
        return True
    return owned.endswith(EVERY) and path.startswith(owned.rstrip(EVERY))
