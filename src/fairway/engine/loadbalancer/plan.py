"""From what HAProxy does to what it should do, by the gentlest means."""

from collections.abc import Mapping

import msgspec

from fairway.engine.loadbalancer.ir import Place, Route, Target


class NoChange(msgspec.Struct, frozen=True):
    """Nothing to do."""


class SetTargets(msgspec.Struct, frozen=True):
    """Only where connections go has changed, which a running HAProxy can be told."""

    targets: Mapping[Place, Target]


class Reload(msgspec.Struct, frozen=True):
    """Places come or go: a new process takes over, and the old one finishes its connections."""


Plan = NoChange | SetTargets | Reload


def plan(running: Mapping[Place, Route] | None, wanted: Mapping[Place, Route]) -> Plan:
    """`running` is None when nobody knows what a running HAProxy does, and empty when none runs."""
    if running is None:
        return Reload()
    if running.keys() != wanted.keys() or any(running[place].sources != wanted[place].sources for place in wanted):
        return Reload()
    changed = {place: route.target for place, route in wanted.items() if running[place].target != route.target}
    return SetTargets(changed) if changed else NoChange()
