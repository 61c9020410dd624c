"""The kernel's packet filter for policies: read, replace, change, watch for foreign writes."""

import asyncio
from typing import Protocol

from fairway.engine.serviceproxy.errors import NftablesError
from fairway.engine.serviceproxy.generations import Generations
from fairway.engine.serviceproxy.nft import LIBRARY_SCRIPT_BYTES_MAX, nft
from fairway.engine.serviceproxy.policies import listing, render
from fairway.engine.serviceproxy.policies.ir import Either, InForce, Rules, Ruleset
from fairway.engine.serviceproxy.policies.plan import AddChain, Change, RemoveChain
from fairway.toolkit.libnftables import LibNftables
from fairway.toolkit.netlink_conntrack import Netfilter


class Nftables(Protocol):
    """Where policies are in force.  Writes raise NftablesError, and then change nothing."""

    def untouched(self) -> bool:
        """Whether nobody else wrote rules since the last read or write here."""
        ...

    async def read(self) -> InForce | None:
        """What is in force; None when there is nothing, or something damaged or foreign that must be replaced."""
        ...

    async def load(self, wanted: Ruleset) -> None:
        """Replace everything in one transaction."""
        ...

    async def apply(self, changes: tuple[Change, ...]) -> None:
        """Change what is in force in one transaction."""
        ...


class KernelNftables:
    """One table of the network namespace in which this object is made."""

    def __init__(self, table: str, name_server: str, generations: Generations | None = None) -> None:
        self._table = table
        self._name_server = name_server
        self._netfilter = Netfilter()
        self._library = LibNftables.open()
        self._watch = (generations or Generations()).watch(self._netfilter)
        self._rules: dict[str, tuple[str, ...]] = {}
        self._lengths: dict[str, int] = {}

    def close(self) -> None:
        """Give sockets back; the rules stay in force."""
        self._watch.end()
        self._netfilter.close()
        if self._library:
            self._library.close()

    def untouched(self) -> bool:
        """Asks the kernel for the ruleset's generation: one message, whatever the number of policies."""
        return self._watch.untouched()

    async def read(self) -> InForce | None:
        generation = self._watch.now()
        table = await self._list_table()
        if table is None or listing.damage(table, self._name_server) or not self._is_as_written(table):
            return None
        self._rules = dict(table.chains)
        self._watch.seen = generation
        return listing.in_force(table, self._name_server)

    async def load(self, wanted: Ruleset) -> None:
        before = self._watch.now()
        await nft("-f", "-", script=render.load(self._table, self._name_server, wanted))
        self._watch.seen = before
        self._watch.committed(before)
        self._rules = {}
        self._lengths = {name: self._length(chain) for name, chain in wanted.chains.items()}

    async def apply(self, changes: tuple[Change, ...]) -> None:
        script = render.apply(self._table, self._name_server, changes)
        before = self._watch.now()
        if self._library and len(script) <= LIBRARY_SCRIPT_BYTES_MAX:
            # In a thread: the library first looks at all chains that there are, 0.1 s with a thousand policies.
            await asyncio.to_thread(self._library.run, script)
        else:
            await nft("-f", "-", script=script)
        self._watch.committed(before)  # if somebody else wrote too, the next look must find out
        for change in changes:
            if isinstance(change, AddChain):
                self._lengths[change.name] = self._length(change.chain)
            elif isinstance(change, RemoveChain):
                self._lengths.pop(change.name, None)
                self._rules.pop(change.name, None)

    def _length(self, chain: Rules | Either) -> int:
        return len(render.statements(chain, self._name_server))

    def _is_as_written(self, table: listing.Table) -> bool:
        """Chains that were listed before are compared in full, those written since by their number of rules."""
        return all(table.chains.get(name) == rules for name, rules in self._rules.items()) and all(
            len(table.chains.get(name, ())) == length for name, length in self._lengths.items()
        )

    async def _list_table(self) -> listing.Table | None:
        try:
            return listing.parse(await nft("-j", "list", "table", "inet", self._table))
        except NftablesError as error:
            if "No such file or directory" in str(error):
                return None
            raise
