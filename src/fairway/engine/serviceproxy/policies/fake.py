"""A packet filter for policies in memory, as strict as the kernel's, for everything that is not about the kernel."""

from fairway.engine.serviceproxy.errors import NftablesError
from fairway.engine.serviceproxy.policies.ir import SELF, Either, Group, InForce, Isolation, Named, Rules, Ruleset
from fairway.engine.serviceproxy.policies.plan import AddChain, Change, RemoveChain, SetGroup, SetIsolation


class FakeNftables:
    """Passes the same contract tests as KernelNftables; also keeps the transactions and can be made to fail."""

    def __init__(self) -> None:
        self.loads = 0
        self.transactions: list[tuple[Change, ...]] = []
        self.failure = ""
        self.bodies: dict[str, Rules | Either] | None = None
        self.groups: dict[str, frozenset[str]] = {}
        self.isolated: dict[Isolation, str] = {}
        self._touched = True

    def untouched(self) -> bool:
        return not self._touched

    async def read(self) -> InForce | None:
        self._touched = False
        return None if self.bodies is None else InForce(frozenset(self.bodies), dict(self.groups), dict(self.isolated))

    async def load(self, wanted: Ruleset) -> None:
        self._fail()
        self.loads += 1
        self.bodies = dict(wanted.chains)
        self.groups, self.isolated = dict(wanted.wanted.groups), dict(wanted.wanted.isolated)
        self._touched = False

    async def apply(self, changes: tuple[Change, ...]) -> None:
        self._fail()
        if self.bodies is None:
            raise NftablesError("No such file or directory")
        before = dict(self.bodies), dict(self.groups), dict(self.isolated)
        try:
            for change in changes:
                _change(change, self.bodies, self.groups, self.isolated)
            _check(self.bodies, self.groups, self.isolated)
        except NftablesError:
            self.bodies, self.groups, self.isolated = before
            raise
        self.transactions.append(changes)

    def touch(self) -> None:
        """A foreign writer threw everything away."""
        self.bodies, self._touched = None, True

    def _fail(self) -> None:
        if self.failure:
            raise NftablesError(self.failure)


def _change(
    change: Change, bodies: dict[str, Rules | Either], groups: dict[str, frozenset[str]], isolated: dict[Isolation, str]
) -> None:
    match change:
        case SetGroup(name, old, new):
            _exchange(groups, name, old, new)
        case AddChain(name, chain):
            _exchange(bodies, name, None, chain)
        case RemoveChain(name):
            _exchange(bodies, name, bodies.get(name, name), None)
        case SetIsolation(isolation, before, after):
            _exchange(isolated, isolation, before, after)


def _exchange(into: dict, key: object, old: object, new: object) -> None:  # type: ignore[type-arg]
    if into.get(key) != old:
        raise NftablesError("No such file or directory" if old is not None else "File exists")
    if new is None:
        del into[key]
    else:
        into[key] = new


def _check(
    bodies: dict[str, Rules | Either], groups: dict[str, frozenset[str]], isolated: dict[Isolation, str]
) -> None:
    """Whatever is named must be there."""
    named = set(isolated.values())
    used = {SELF}
    for body in bodies.values():
        if isinstance(body, Either):
            named.update(body.rules)
            continue
        for allow in body.allows:
            used |= {allow.peer.name} if isinstance(allow.peer, Group) else set()
            used |= {allow.ports.group} if isinstance(allow.ports, Named) else set()
    if not named <= bodies.keys() or not used <= groups.keys():
        raise NftablesError("Device or resource busy")
