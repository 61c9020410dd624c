"""The kernel's packet filter: read, replace, change, watch for foreign writes."""

import asyncio
from typing import Protocol

from fairway.engine.serviceproxy import affinity, connections, listing, render
from fairway.engine.serviceproxy.config import Config
from fairway.engine.serviceproxy.errors import NftablesError
from fairway.engine.serviceproxy.generations import Generations
from fairway.engine.serviceproxy.ir import Frontend, Ruleset
from fairway.engine.serviceproxy.nft import LIBRARY_SCRIPT_BYTES_MAX, nft
from fairway.engine.serviceproxy.plan import Change
from fairway.toolkit.libnftables import LibNftables
from fairway.toolkit.netlink_conntrack import Netfilter

_ATTEMPTS = 3


class Nftables(Protocol):
    """Where a ruleset is in force.  Writes raise NftablesError, and then change nothing."""

    def untouched(self) -> bool:
        """Whether nobody else wrote rules since the last read or write here."""
        ...

    async def read(self) -> Ruleset | None:
        """What is in force; None when there is nothing, or something damaged or foreign that must be replaced."""
        ...

    async def load(self, wanted: Ruleset) -> None:
        """Replace everything in one transaction."""
        ...

    async def apply(self, changes: tuple[Change, ...]) -> None:
        """Change what is in force in one transaction; sticky clients stay on backends that remain."""
        ...

    async def forget_stale_flows(self, ruleset: Ruleset, gone: frozenset[Frontend] = frozenset()) -> int:
        """Drop UDP flows that go where the ruleset no longer sends them; returns how many."""
        ...


class KernelNftables:
    """One table of the network namespace in which this object is made."""

    def __init__(self, config: Config, generations: Generations | None = None) -> None:
        self._config = config
        self._netfilter = Netfilter()
        self._library = LibNftables.open()
        self._watch = (generations or Generations()).watch(self._netfilter)
        self._shared_chains: frozenset[str] = frozenset()
        self._rules: dict[str, tuple[str, ...]] = {}

    def close(self) -> None:
        """Give sockets back; the rules stay in force."""
        self._watch.end()
        self._netfilter.close()
        if self._library:
            self._library.close()

    def untouched(self) -> bool:
        """Asks the kernel for the ruleset's generation: one message, whatever the number of Services."""
        return self._watch.untouched()

    async def read(self) -> Ruleset | None:
        generation = self._watch.now()
        table = await self._list_table()
        if table is None or listing.damage(table, self._config.service_cidr) or not self._is_as_written(table):
            return None
        self._remember(table)
        self._watch.seen = generation
        return listing.ruleset(table)

    async def load(self, wanted: Ruleset) -> None:
        before = self._watch.now()
        await nft("-f", "-", script=render.load(self._config.table, self._config.service_cidr, wanted))
        self._watch.committed(before)
        self._rules = {}
        generation = self._watch.now()
        table = await self._list_table(terse=True)
        if table is None:
            raise NftablesError("the table vanished right after it was written")
        self._remember(table)
        self._watch.seen = generation

    async def apply(self, changes: tuple[Change, ...]) -> None:
        moving = affinity.moving(changes)
        for attempt in range(_ATTEMPTS):
            extra = affinity.statements(self._config.table, await self._clients(), moving) if moving else ()
            script = render.apply(self._config.table, changes, self._shared_chains, extra)
            try:
                await self._commit(script)
                break
            except NftablesError:
                # A remembered client may run out between listing and change; then the kernel refuses the whole.
                if not moving or attempt == _ATTEMPTS - 1:
                    raise
        self._shared_chains |= render.chains_of(changes)

    async def forget_stale_flows(self, ruleset: Ruleset, gone: frozenset[Frontend] = frozenset()) -> int:
        return await asyncio.to_thread(self._forget, ruleset, gone)

    def _forget(self, ruleset: Ruleset, gone: frozenset[Frontend]) -> int:
        with Netfilter() as netfilter:
            flows = netfilter.flows(connections.UDP)
            return netfilter.forget(connections.stale(flows, ruleset, self._config.service_cidr, gone))

    async def _commit(self, script: str) -> None:
        before = self._watch.now()
        if self._library and len(script) <= LIBRARY_SCRIPT_BYTES_MAX:
            self._library.run(script)
        else:
            await nft("-f", "-", script=script)
        self._watch.committed(before)  # if somebody else wrote too, the next look must find out

    def _is_as_written(self, table: listing.Table) -> bool:
        return all(table.chains.get(name) == rules for name, rules in self._rules.items())

    def _remember(self, table: listing.Table) -> None:
        self._rules = dict(table.chains)
        self._shared_chains = frozenset(name for name in table.chains if listing.is_shared(name))

    async def _clients(self) -> tuple[listing.Client, ...]:
        found: tuple[listing.Client, ...] = ()
        for name in ("affinity", "node-affinity"):
            found += listing.clients(listing.parse(await self._list(f"map ip {self._config.table} {name}")))
        return found

    async def _list_table(self, *, terse: bool = False) -> listing.Table | None:
        tables = listing.table_names(await self._list("tables ip"))
        if self._config.table not in tables:
            return None
        options = ("-j", "-t") if terse else ("-j",)
        return listing.parse(await nft(*options, "list", "table", "ip", self._config.table))

    async def _list(self, what: str) -> str:
        if self._library:
            return self._library.run(f"list {what}", json=True)
        return await nft("-j", "list", *what.split())
