"""A packet filter in memory, as strict as the kernel's, for everything that is not about the kernel."""

from fairway.engine.serviceproxy import connections, ir, render
from fairway.engine.serviceproxy.errors import NftablesError
from fairway.engine.serviceproxy.ir import Frontend, Pool, Ruleset
from fairway.engine.serviceproxy.plan import Change, SetHairpin, SetPool
from fairway.toolkit.netlink_conntrack import Flow


class FakeNftables:
    """Passes the same contract tests as KernelNftables; also counts transactions and can be made to fail."""

    def __init__(self, service_cidr: str = "10.96.0.0/16") -> None:
        self.ruleset: Ruleset | None = None
        self.flows: list[Flow] = []
        self.loads = 0
        self.transactions: list[tuple[Change, ...]] = []
        self.failure = ""
        self._service_cidr = service_cidr
        self._touched = True

    def untouched(self) -> bool:
        return not self._touched

    async def read(self) -> Ruleset | None:
        self._touched = False
        return self.ruleset

    async def load(self, wanted: Ruleset) -> None:
        self._fail()
        self.loads += 1
        self.ruleset = ir.ruleset(dict(wanted.pools))
        self._touched = False

    async def apply(self, changes: tuple[Change, ...]) -> None:
        self._fail()
        if self.ruleset is None:
            raise NftablesError("No such file or directory")
        pools, hairpins = dict(self.ruleset.pools), set(self.ruleset.uses)
        for change in changes:
            if isinstance(change, SetHairpin):
                (hairpins.add if change.present else hairpins.discard)(change.address)
            else:
                _exchange(pools, change)
        after = ir.ruleset(pools)
        if after.uses.keys() != hairpins:
            raise NftablesError("the hairpin set does not fit the pools")
        self.ruleset = after
        self.transactions.append(changes)

    async def forget_stale_flows(self, ruleset: Ruleset, gone: frozenset[Frontend] = frozenset()) -> int:
        dropped = connections.stale(self.flows, ruleset, self._service_cidr, gone)
        self.flows = [flow for flow in self.flows if flow not in dropped]
        return len(dropped)

    def touch(self, ruleset: Ruleset | None) -> None:
        """What a foreign writer did."""
        self.ruleset = ruleset
        self._touched = True

    def _fail(self) -> None:
        if self.failure:
            raise NftablesError(self.failure)


def _exchange(pools: dict[Frontend, Pool], change: SetPool) -> None:
    before = render.elements(change.frontend, pools.get(change.frontend))
    expected = render.elements(change.frontend, change.old)
    if any(before.get(key) != value for key, value in expected.items()):
        raise NftablesError("No such file or directory")
    if before.keys() - expected.keys():
        raise NftablesError("File exists")
    if change.new is None:
        pools.pop(change.frontend, None)
    else:
        pools[change.frontend] = change.new
