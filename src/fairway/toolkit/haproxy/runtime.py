"""The runtime socket: change and read a HAProxy while it runs (management.txt, section 9.3).

One connection per batch: the worker closes it after the last answer, so the end of the stream is the end of the answer.
"""

import asyncio
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from fairway.toolkit.haproxy.errors import CommandRefused, SocketUnreachable

_PAYLOAD_BYTES_MAX = 12_000  # a payload must fit the command buffer of 16 kB
_BATCH_BYTES_MAX = 8_000
_FILES_MOST = 50
_TIMEOUT_SECONDS = 10.0
_ADMIN_MAINTENANCE = 0x3B  # srv_admin_state: any reason but 0x04, "the file says disabled", which stays set for ever


class ServerState(msgspec.Struct, frozen=True):
    """One server as HAProxy has it."""

    backend: str
    name: str
    address: str
    port: int
    maintenance: bool


class RuntimeSocket:
    """Commands to the HAProxy whose socket is `name` in `folder`."""

    def __init__(self, folder: Path, name: str = "haproxy.sock") -> None:
        self._folder = folder
        self._name = name

    async def ask(self, command: str, payload: str = "") -> str:
        """Send one command, perhaps with a payload, and return the whole answer. Raises SocketUnreachable."""
        text = f"{command} <<\n{payload.rstrip()}\n\n" if payload else f"{command}\n"
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await self._exchange(text)
        except (OSError, TimeoutError) as error:
            raise SocketUnreachable(f"runtime socket {self._folder / self._name}: {error or 'no answer'}") from error

    async def info(self) -> dict[str, str]:
        """`show info` as name → value. Raises SocketUnreachable."""
        lines = (await self.ask("show info")).splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    async def set_servers(self, servers: Iterable[tuple[str, str, str, int]]) -> None:
        """Give servers (backend, name, address, port) and make them ready. Raises CommandRefused."""
        commands: list[tuple[str, str]] = []
        for backend, name, address, port in servers:
            target = f"set server {backend}/{name}"
            commands += [(f"{target} addr {address} port {port}", "chang"), (f"{target} state ready", "")]
        await self._batch(commands)

    async def add_server(self, backend: str, name: str, address: str, options: str = "") -> None:
        """A server that was not in the configuration; it takes requests at once. From 2.8. Raises CommandRefused."""
        await self._expect("New server registered", f"add server {backend}/{name} {address} {options}".rstrip())
        await self._expect("", f"enable server {backend}/{name}")

    async def disable_servers(self, servers: Iterable[tuple[str, str]]) -> None:
        """Servers (backend, name) take nothing new; what they have goes on. Raises CommandRefused."""
        await self._batch([(f"set server {backend}/{name} state maint", "") for backend, name in servers])

    async def add_map(self, file: str, entries: Mapping[str, str]) -> None:
        """Add keys. Raises CommandRefused."""
        for chunk in _chunks(entries.items()):
            await self._expect("", f"add map {file}", chunk)

    async def set_map(self, file: str, entries: Mapping[str, str]) -> None:
        """Change the values of keys that are there. Raises CommandRefused."""
        await self._batch([(f"set map {file} {escape(key)} {escape(value)}", "") for key, value in entries.items()])

    async def delete_map(self, file: str, keys: Iterable[str]) -> None:
        """Remove keys. Raises CommandRefused."""
        await self._batch([(f"del map {file} {escape(key)}", "") for key in keys])

    async def replace_map(self, file: str, entries: Iterable[tuple[str, str]]) -> None:
        """Replace all entries at one moment, in this order. Raises CommandRefused."""
        answer = await self.ask(f"prepare map {file}")
        version = answer.rpartition(":")[2].strip()
        if not version.isdigit():
            raise CommandRefused(f"prepare map {file}", answer.strip())
        for chunk in _chunks(entries):
            await self._expect("", f"add map @{version} {file}", chunk)
        await self._expect("", f"commit map @{version} {file}")

    async def show_map(self, file: str) -> tuple[tuple[str, str], ...]:
        """Key and value of every entry. Raises CommandRefused."""
        answer = await self.ask(f"show map {file}")
        lines = [line.split(" ", 2) for line in answer.splitlines() if line]
        if any(not line[0].startswith("0x") for line in lines):
            raise CommandRefused(f"show map {file}", answer.strip())
        return tuple((line[1], line[2] if len(line) > 2 else "") for line in lines)

    async def show_servers(self) -> tuple[ServerState, ...]:
        """Every server of every backend."""
        rows = [line.split() for line in (await self.ask("show servers state")).splitlines()]
        return tuple(_server_state(row) for row in rows if len(row) > 18 and row[0] != "#")

    async def set_certificate(self, file: str, pem: str) -> None:
        """New content for a certificate that is there. Raises CommandRefused, and then nothing has changed."""
        await self._expect("ransaction", f"set ssl cert {file}", _without_blank_lines(pem))
        try:
            await self._expect("Success", f"commit ssl cert {file}")
        except CommandRefused:
            await self.ask(f"abort ssl cert {file}")
            raise

    async def add_certificate(self, file: str, pem: str, crt_list: str, hosts: Iterable[str]) -> None:
        """A new certificate and the hosts it serves. Raises CommandRefused, and then nothing has changed."""
        await self._expect("New empty", f"new ssl cert {file}")
        try:
            await self.set_certificate(file, pem)
            await self._expect("Success", f"add ssl crt-list {crt_list}", f"{file} {' '.join(hosts)}")
        except CommandRefused:
            await self.ask(f"del ssl cert {file}")
            raise

    async def remove_certificate(self, file: str, crt_list: str) -> None:
        """Take a certificate out of the list and forget it. Raises CommandRefused."""
        await self._expect("deleted", f"del ssl crt-list {crt_list} {file}")
        await self._expect("deleted", f"del ssl cert {file}")

    async def show_certificates(self, crt_list: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """File and hosts of every line of a certificate list."""
        text = re.sub(r"\[[^\]]*\]", "", await self.ask(f"show ssl crt-list {crt_list}"))  # without options
        lines = [line.split() for line in text.splitlines()]
        return tuple((line[0], tuple(line[1:])) for line in lines if line and not line[0].startswith("#"))

    async def show_fingerprints(self, files: Iterable[str]) -> dict[str, str]:
        """SHA-1 of the first certificate of each file, in hexadecimal; files that it does not have are left out."""
        found: dict[str, str] = {}
        waiting = list(files)
        while waiting:
            some, waiting = waiting[:_FILES_MOST], waiting[_FILES_MOST:]
            answer = await self.ask("; ".join(f"show ssl cert {file}" for file in some))
            for part in answer.split("Filename: ")[1:]:
                file, _, rest = part.partition("\n")
                if match := re.search(r"^SHA1 FingerPrint: ([0-9A-F]+)$", rest, re.MULTILINE):
                    found[file.strip()] = match[1]
        return found

    async def _batch(self, commands: list[tuple[str, str]]) -> None:
        """Commands with the word that may be in their answer; all of them succeed or CommandRefused is raised."""
        batch: list[tuple[str, str]] = []
        size = 0
        for command in commands:
            if size + len(command[0]) > _BATCH_BYTES_MAX:
                await self._send(batch)
                batch, size = [], 0
            batch.append(command)
            size += len(command[0]) + 2
        if batch:
            await self._send(batch)

    async def _send(self, batch: list[tuple[str, str]]) -> None:
        answer = await self.ask("; ".join(command for command, _ in batch))
        harmless = {word for _, word in batch if word}
        for line in filter(None, map(str.strip, answer.splitlines())):
            if not any(word in line for word in harmless):
                raise CommandRefused(batch[0][0], line)

    async def _expect(self, word: str, command: str, payload: str = "") -> None:
        answer = (await self.ask(command, payload)).strip()
        if (word not in answer) if word else answer:
            raise CommandRefused(command, answer)

    async def _exchange(self, text: str) -> str:
        # Through the folder's descriptor, because the path of a socket may not be longer than 107 bytes.
        folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{self._name}")
        finally:
            os.close(folder)
        try:
            writer.write(text.encode())
            return (await reader.read(-1)).decode("utf-8", "replace")
        finally:
            writer.close()


def escape(word: str) -> str:
    """A word of a command: what would end it is escaped. Raises ValueError for line breaks and NUL."""
    if any(char in word for char in "\r\n\0"):
        raise ValueError("a word of a command cannot contain a line break")
    return "".join(f"\\{char}" if char in "\\ ;\t" else char for char in word)


def _chunks(entries: Iterable[tuple[str, str]]) -> Iterable[str]:
    lines: list[str] = []
    size = 0
    for key, value in entries:
        line = f"{key} {value}"
        if size + len(line) > _PAYLOAD_BYTES_MAX and lines:
            yield "\n".join(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line) + 1
    if lines:
        yield "\n".join(lines)


def _without_blank_lines(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.strip())


def _server_state(row: list[str]) -> ServerState:
    """Columns of srv_state file version 1: management.txt, `show servers state`."""
    return ServerState(row[1], row[3], row[4], int(row[18]), bool(int(row[6]) & _ADMIN_MAINTENANCE))
