"""A HAProxy in memory: does what the real one is told, one command at a time, and refuses what the real one refuses."""

import asyncio
from collections.abc import Mapping

from fairway.edge.ir import Certificate, Server
from fairway.edge.plan import (
    AddCertificate,
    AddEntries,
    AddServer,
    Command,
    DeleteEntries,
    DisableServer,
    NoChange,
    Plan,
    Reload,
    RemoveCertificate,
    ReplaceCertificate,
    ReplaceMap,
    RuntimeCommands,
    SetEntries,
    SetServer,
    fingerprint,
)
from fairway.edge.proxy import CertificateRefused, Observed
from fairway.edge.render import Rendered
from fairway.toolkit.haproxy import CommandRefused


class FakeHaproxy:
    """A `Proxy` without a process. `plans` is what it was given; `bad_pems` are certificates it does not take."""

    def __init__(self) -> None:
        self.running: Rendered | None = None
        self.dynamic = True
        self.plans: list[Plan] = []
        self.bad_pems: set[str] = set()
        self._maps: dict[str, dict[str, str]] = {}
        self._ordered: dict[str, tuple[tuple[str, str], ...]] = {}
        self._slots: dict[str, list[Server | None]] = {}
        self._certificates: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._gone = asyncio.Event()

    async def adopt(self) -> None:
        """There is never anything left over."""

    async def apply(self, plan: Plan, desired: Rendered) -> None:
        self.plans.append(plan)
        known, self.running = self.running, None
        match plan:
            case Reload():
                if bad := [one for one in desired.certificates.values() if one.pem in self.bad_pems]:
                    self.running = known
                    raise CertificateRefused(bad[0].pem, "refused")
                self._start(desired)
            case RuntimeCommands(commands=commands):
                for command in commands:
                    self._command(command)
            case NoChange():
                pass
        self.running = desired

    async def observe(self) -> Observed:
        return Observed(
            maps={**{name: tuple(sorted(entries.items())) for name, entries in self._maps.items()}, **self._ordered},
            servers={
                f"{backend}/s{number}": (server.address, server.port)
                for backend, slots in self._slots.items()
                for number, server in enumerate(slots, 1)
                if server
            },
            certificates={name: hosts for name, (_, hosts) in sorted(self._certificates.items())},
            fingerprints={
                name: fingerprint(Certificate(name, pem, ())) for name, (pem, _) in self._certificates.items()
            },
        )

    async def revive(self) -> bool:
        if self.running is None or not self._gone.is_set():
            return False
        self._start(self.running)
        return True

    async def ended(self) -> None:
        await self._gone.wait()

    def forget(self) -> None:
        self.running = None

    def die(self) -> None:
        """As a kill -9 does."""
        self._gone.set()

    def _start(self, desired: Rendered) -> None:
        self._gone.clear()
        self._maps = {name: dict(entries) for name, entries in desired.maps.items()}
        self._ordered = dict(desired.ordered_maps)
        self._slots = {name: list(slots) for name, slots in desired.slots.items()}
        self._certificates = {name: (one.pem, one.hosts) for name, one in desired.certificates.items()}

    def _command(self, command: Command) -> None:
        match command:
            case SetServer(backend=backend, slot=slot, server=server):
                self._slots[backend][slot - 1] = server
            case AddServer(backend=backend, slot=slot, server=server):
                if slot != len(self._slots[backend]) + 1:
                    raise CommandRefused(f"add server {backend}/s{slot}", "already exists")
                self._slots[backend].append(server)
            case DisableServer(backend=backend, slot=slot):
                self._slots[backend][slot - 1] = None
            case AddEntries(map=name, entries=entries):
                self._maps[name] |= entries
            case SetEntries(map=name, entries=entries):
                self._require(self._maps[name], *entries)
                self._maps[name] |= entries
            case DeleteEntries(map=name, keys=keys):
                self._require(self._maps[name], *keys)
                for key in keys:
                    del self._maps[name][key]
            case ReplaceMap(map=name, entries=entries):
                self._ordered[name] = entries
            case AddCertificate(certificate=one) | ReplaceCertificate(certificate=one):
                if one.pem in self.bad_pems:
                    raise CertificateRefused(one.pem, "refused")
                self._certificates[one.name] = (one.pem, one.hosts)
            case RemoveCertificate(name=name):
                self._require(self._certificates, name)
                del self._certificates[name]

    @staticmethod
    def _require(table: Mapping[str, object], *keys: str) -> None:
        for key in keys:
            if key not in table:
                raise CommandRefused(f"entry {key}", "not found")
