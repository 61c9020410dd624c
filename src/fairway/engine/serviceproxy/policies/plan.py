"""The smallest change that turns what is in force into what is wanted."""

from collections.abc import Mapping

import msgspec

from fairway.engine.serviceproxy.policies.ir import Either, InForce, Isolation, Rules, Ruleset


class NoChange(msgspec.Struct, frozen=True):
    """Nothing to do."""


class SetGroup(msgspec.Struct, frozen=True):
    """Exchange the members of a group; None: the group is not there."""

    name: str
    old: frozenset[str] | None
    new: frozenset[str] | None


class AddChain(msgspec.Struct, frozen=True):
    """A chain that is not there yet; what it names was there before or comes with it."""

    name: str
    chain: Rules | Either


class RemoveChain(msgspec.Struct, frozen=True):
    """A chain that nothing names any more."""

    name: str


class SetIsolation(msgspec.Struct, frozen=True):
    """Send an address's new connections through another chain; None: through none."""

    isolation: Isolation
    old: str | None
    new: str | None


Change = SetGroup | AddChain | RemoveChain | SetIsolation


def plan(applied: InForce, ruleset: Ruleset) -> tuple[Change, ...] | NoChange:
    """What to change, all of it in one transaction and in this order: what is named is there before what names it."""
    wanted = ruleset.wanted
    groups = _groups(applied.groups, wanted.groups)
    fresh = sorted(wanted.chains - applied.chains, key=lambda name: (isinstance(ruleset.chains[name], Either), name))
    stale = sorted(applied.chains - wanted.chains)  # "only-…" comes before the "rules-…" that it names
    changes: list[Change] = [change for change in groups if change.new is not None]
    changes += [AddChain(name, ruleset.chains[name]) for name in fresh]
    changes += _isolations(applied.isolated, wanted.isolated)
    changes += [RemoveChain(name) for name in stale]
    changes += [change for change in groups if change.new is None]
    return tuple(changes) or NoChange()


def _groups(old: Mapping[str, frozenset[str]], new: Mapping[str, frozenset[str]]) -> list[SetGroup]:
    names = sorted(old.keys() | new.keys())
    return [SetGroup(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def _isolations(old: Mapping[Isolation, str], new: Mapping[Isolation, str]) -> list[SetIsolation]:
    keys = sorted(old.keys() | new.keys())
    return [SetIsolation(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]
