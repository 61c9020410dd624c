"""The one file that touches the world: brings a running HAProxy to a configuration, and looks at what it has.

Everything applied is also on disk, so HAProxy comes back identical, and the next engine finds what runs: `applied.json`
is the configuration that was applied last. What HAProxy was told while it runs is written a moment later, for a burst
once; until then `applied.json` is away, and whoever does not find it does not know what runs, and reloads.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

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
)
from fairway.edge.proxy import CertificateRefused, Observed
from fairway.edge.render.rendered import CRT_LIST, Rendered, Texts, certificate_file, files, socket_address
from fairway.toolkit import files as disk
from fairway.toolkit.haproxy import PREFERRED, CommandRefused, ConfigRefused, Process, RuntimeSocket
from fairway.toolkit.persistent_map import plain

_APPLIED = "applied.json"
_SAVE_SECONDS = 0.2
_LOOKED_INTO_MOST = 200
_FOLDERS = ("maps", "pages", "certs", "root")


class Haproxy:
    """A `Proxy` that is a HAProxy process on the files in `folder`."""

    def __init__(self, process: Process, folder: Path) -> None:
        self.running: Rendered | None = None
        self.dynamic = process.version >= PREFERRED
        self.version = process.version[:2]
        self._changing = asyncio.Lock()
        self._unsaved = asyncio.Event()
        self._looked_into = 0
        self._process = process
        self._folder = folder
        self._on_disk: Mapping[str, str] = {}
        self._texts: Texts = {}
        for name in ("", *_FOLDERS):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    async def adopt(self) -> None:
        self.running = self._read_applied() if await self._process.adopt() else None
        self._on_disk = files(self.running) if self.running else {}

    async def apply(self, plan: Plan, desired: Rendered) -> None:
        async with self._changing:
            match plan:
                case NoChange():
                    self.running = desired
                case RuntimeCommands(commands=commands):
                    await self._command(commands, desired)
                case Reload():
                    await self._reload(desired)

    async def revive(self) -> bool:
        async with self._changing:
            if self.running is None or self._process.alive:
                return False
            self._save()
            try:
                await self._process.start()
            except ConfigRefused:
                self.running = None
                raise
            return True

    async def keep_on_disk(self) -> None:
        """Write what was applied, until cancelled."""
        try:
            while True:
                await self._unsaved.wait()
                await asyncio.sleep(_SAVE_SECONDS)
                await self.save()
        finally:
            self._save()

    async def save(self) -> None:
        """Write what was applied, now. Raises OSError."""
        async with self._changing:
            self._save()

    async def observe(self) -> Observed:
        socket, running = self._process.socket, self.running or Rendered()
        found = {name: tuple(sorted(await socket.show_map(name))) for name in running.maps}
        ordered = {name: await socket.show_map(name) for name in running.ordered_maps}
        looked_into = self._next_certificates(running)
        prints = await socket.show_fingerprints([certificate_file(name) for name in looked_into])
        return Observed(
            maps={**found, **ordered},
            servers={
                f"{server.backend}/{server.name}": (server.address, server.port)
                for server in await socket.show_servers()
                if not server.maintenance and server.name.startswith("s")  # those with names of others are its own
            },
            certificates={
                file.removeprefix("certs/").removesuffix(".pem"): hosts
                for file, hosts in sorted(await socket.show_certificates(CRT_LIST))
            },
            fingerprints={name: text for name in looked_into if (text := prints.get(certificate_file(name)))},
        )

    def _next_certificates(self, running: Rendered) -> tuple[str, ...]:
        """Some, others each time: to look into thousands would keep HAProxy from its work."""
        names = tuple(sorted(running.certificates))
        first = self._looked_into if self._looked_into < len(names) else 0
        self._looked_into = first + _LOOKED_INTO_MOST
        return names[first : first + _LOOKED_INTO_MOST]

    async def ended(self) -> None:
        await self._process.ended()

    def forget(self) -> None:
        self.running = None

    async def _command(self, commands: tuple[Command, ...], desired: Rendered) -> None:
        """First the running HAProxy, then the disk: requests do not wait for files."""
        self._forget_applied()
        for same in _runs(commands):
            await _RUN[type(same[0])](self._process.socket, same)
        self.running = desired
        self._unsaved.set()

    async def _reload(self, desired: Rendered) -> None:
        """When HAProxy does not take the new files, the old ones come back and the old process serves on."""
        self._save()
        known, before = self.running, self._on_disk
        self._forget_applied()
        self._write(files(desired, self._texts))
        try:
            await self._process.start()
        except ConfigRefused as error:
            self._write(before)
            if known is not None and self._process.alive:
                self._applied(known)
            for certificate in desired.certificates.values():
                if certificate_file(certificate.name) in str(error):
                    raise CertificateRefused(certificate.pem, str(error)) from error
            raise
        self._applied(desired)

    def _forget_applied(self) -> None:
        self.running = None
        if not self._unsaved.is_set():
            (self._folder / _APPLIED).unlink(missing_ok=True)

    def _save(self) -> None:
        if self._unsaved.is_set() and self.running is not None:
            self._write(files(self.running, self._texts))
            self._applied(self.running)

    def _applied(self, rendered: Rendered) -> None:
        self.running = rendered
        self._unsaved.clear()
        disk.replace(self._folder / _APPLIED, encoded(rendered), mode=0o600)

    def _read_applied(self) -> Rendered | None:
        try:
            return msgspec.json.decode((self._folder / _APPLIED).read_bytes(), type=Rendered)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None  # another version of Fairway wrote it, or a change was cut short: a reload puts it right

    def _write(self, wanted: Mapping[str, str]) -> None:
        for name, text in wanted.items():
            if self._on_disk.get(name) != text:
                disk.replace(self._folder / name, text.encode(), mode=0o600)
        for name in self._on_disk.keys() - wanted.keys():
            (self._folder / name).unlink(missing_ok=True)
        self._on_disk = wanted


def encoded(rendered: Rendered) -> bytes:
    """As JSON; the backends of the edge that led to it are found anew by the next engine."""
    placement = msgspec.structs.replace(rendered.placement, backends={})
    return msgspec.json.encode(msgspec.structs.replace(rendered, placement=placement), enc_hook=plain)


def _runs(commands: tuple[Command, ...]) -> list[list[Any]]:
    """Neighbours of the same kind together: they go to HAProxy in one batch."""
    found: list[list[Any]] = []
    for command in commands:
        if found and type(found[-1][0]) is type(command):
            found[-1].append(command)
        else:
            found.append([command])
    return found


async def _set_servers(socket: RuntimeSocket, commands: list[SetServer]) -> None:
    await socket.set_servers((one.backend, f"s{one.slot}", one.server.address, one.server.port) for one in commands)


async def _add_servers(socket: RuntimeSocket, commands: list[AddServer]) -> None:
    for one in commands:
        await socket.add_server(one.backend, f"s{one.slot}", socket_address(one.server), one.options)


async def _disable_servers(socket: RuntimeSocket, commands: list[DisableServer]) -> None:
    await socket.disable_servers((one.backend, f"s{one.slot}") for one in commands)


async def _add_entries(socket: RuntimeSocket, commands: list[AddEntries]) -> None:
    for one in commands:
        await socket.add_map(one.map, one.entries)


async def _set_entries(socket: RuntimeSocket, commands: list[SetEntries]) -> None:
    for one in commands:
        await socket.set_map(one.map, one.entries)


async def _delete_entries(socket: RuntimeSocket, commands: list[DeleteEntries]) -> None:
    for one in commands:
        await socket.delete_map(one.map, one.keys)


async def _replace_map(socket: RuntimeSocket, commands: list[ReplaceMap]) -> None:
    for one in commands:
        await socket.replace_map(one.map, one.entries)


async def _add_certificate(socket: RuntimeSocket, commands: list[AddCertificate]) -> None:
    for one in commands:
        certificate = one.certificate
        try:
            await socket.add_certificate(
                certificate_file(certificate.name), certificate.pem, CRT_LIST, certificate.hosts
            )
        except CommandRefused as error:
            raise CertificateRefused(certificate.pem, str(error)) from error


async def _replace_certificate(socket: RuntimeSocket, commands: list[ReplaceCertificate]) -> None:
    for one in commands:
        try:
            await socket.set_certificate(certificate_file(one.certificate.name), one.certificate.pem)
        except CommandRefused as error:
            raise CertificateRefused(one.certificate.pem, str(error)) from error


async def _remove_certificate(socket: RuntimeSocket, commands: list[RemoveCertificate]) -> None:
    for one in commands:
        await socket.remove_certificate(certificate_file(one.name), CRT_LIST)


_RUN: Mapping[type, Callable[[RuntimeSocket, list[Any]], Awaitable[None]]] = {
    SetServer: _set_servers,
    AddServer: _add_servers,
    DisableServer: _disable_servers,
    AddEntries: _add_entries,
    SetEntries: _set_entries,
    DeleteEntries: _delete_entries,
    ReplaceMap: _replace_map,
    AddCertificate: _add_certificate,
    ReplaceCertificate: _replace_certificate,
    RemoveCertificate: _remove_certificate,
}
