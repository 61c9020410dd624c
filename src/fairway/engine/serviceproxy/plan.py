"""The smallest change that turns the applied ruleset into the wanted one."""

import msgspec

from fairway.engine.serviceproxy import ir
from fairway.engine.serviceproxy.ir import Frontend, Pool, Ruleset


class NoChange(msgspec.Struct, frozen=True):
    """Nothing to do."""


class SetPool(msgspec.Struct, frozen=True):
    """Exchange the pool of a frontend; None: the frontend is not there."""

    frontend: Frontend
    old: Pool | None
    new: Pool | None


class SetHairpin(msgspec.Struct, frozen=True):
    """Start or stop rewriting the source of what an address sends to itself."""

    address: str
    present: bool


Change = SetPool | SetHairpin


def plan(applied: Ruleset, wanted: Ruleset) -> tuple[Change, ...] | NoChange:
    """What to change, all of it in one transaction."""
    pools = _pools(applied, wanted)
    if not pools:
        return NoChange()
    return (*pools, *_hairpins(pools, applied, wanted))


def _pools(applied: Ruleset, wanted: Ruleset) -> list[SetPool]:
    different = ir.differing(applied.pools, wanted.pools)
    return [SetPool(frontend, old, new) for frontend, old, new in different if old != new]


def _hairpins(pools: list[SetPool], applied: Ruleset, wanted: Ruleset) -> list[SetHairpin]:
    touched: set[str] = set()
    for change in pools:
        for side in (change.old, change.new):
            touched |= ir.addresses(side) if side else set()
    return [
        SetHairpin(address, address in wanted.uses)
        for address in sorted(touched)
        if (address in applied.uses) != (address in wanted.uses)
    ]
